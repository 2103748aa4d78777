// What the page can do beyond what is printed: sort and copy tables, try out other thresholds. Nothing is loaded,
// stored or sent; without it the page is complete. ASCII only, no character of it is in the fonts of the report.
"use strict";
(() => {
  const language = document.documentElement.lang, texts = JSON.parse(document.querySelector("main").dataset.said);
  const say = (message, gaps = {}) => texts[message].replace(/\{(\w+)\}/g, (_, name) => gaps[name]);
  const decimal = (0.5).toLocaleString(language).charAt(1), grouped = decimal === "," ? /\.(?=\d{3})/g : /,(?=\d{3})/g;
  const plain = text => text.replace(/\u2212/g, "-").replace(grouped, "").replace(decimal, ".");
  const fixed = (value, digits) => value.toFixed(digits).replace(".", decimal);
  const make = (tag, attributes, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const words = cell => [...cell.childNodes].filter(n => n.nodeName !== "svg" && n.nodeName !== "SUP")
    .map(n => n.textContent).join("").replace(/\s+/g, " ").trim();
  const number = text => {
    const found = plain(text).match(/^[<>\u00d7 ]*([+-]?\d+(\.\d+)?)/);
    return found ? Number(found[1]) : NaN;
  };
  const said = make("p", {class: "said", role: "status"});
  document.querySelector("main").append(said);

  // --- tables ------------------------------------------------------------------------------------
  const compare = column => (one, other) => {
    const [a, b] = [one, other].map(row => words(row.cells[column]));
    return number(a) - number(b) || a.localeCompare(b, language, {numeric: true});
  };
  const sortable = table => {
    const body = table.tBodies[0], printed = [...body.rows];
    if (printed.length < 3) return;
    for (const head of table.tHead.rows[0].cells) {
      const column = head.cellIndex, cells = printed.map(row => words(row.cells[column]));
      if (!words(head) || new Set(cells).size < 2) continue;
      const button = make("button", {type: "button", class: "sort"}, ...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = {none: "ascending", ascending: "descending", descending: "none"}[head.ariaSort ?? "none"];
        for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
        if (next !== "none") head.setAttribute("aria-sort", next);
        table.classList.toggle("sorted", next !== "none");
        const numeric = cells.some(text => !isNaN(number(text)));
        const last = row => numeric && isNaN(number(words(row.cells[column])));  // "not estimable", whatever the order
        const sign = next === "descending" ? -1 : 1, order = compare(column);
        body.append(...(next === "none" ? printed : [...printed].sort(
          (a, b) => last(a) - last(b) || (last(a) ? 0 : sign * order(a, b)))));
        said.textContent = next === "none" ? say("unsorted") : say(next, {column: words(head)});
      });
    }
  };
  const field = text => {
    const cell = text.replace(/\u2212/g, "-");
    // No spreadsheet computes it (OWASP, CSV injection); numbers stay.
    const safe = /^[=+\-@\t\r]/.test(cell) && isNaN(plain(cell).replace(/\s*%$/, "")) ? "'" + cell : cell;
    return /[",;\n']/.test(safe) ? `"${safe.replace(/"/g, '""')}"` : safe;
  };
  const separator = decimal === "," ? ";" : ",";  // as spreadsheets of the language read it
  const copied = text => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = make("textarea", {"aria-hidden": "true"});  // a page of a server without TLS has no clipboard
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done ? Promise.resolve() : Promise.reject();
  };
  for (const table of document.querySelectorAll(".table > table")) {
    const name = table.caption.textContent;
    const copy = make("button", {type: "button", class: "copy", "aria-label": say("copy_of", {table: name})}, say("copy"));
    table.after(copy);
    copy.addEventListener("click", () => {
      const rows = [...table.rows].map(row => [...row.cells].map(cell => field(words(cell))).join(separator));
      copied(rows.join("\r\n") + "\r\n").then(
        () => { copy.textContent = said.textContent = say("copied"); },
        () => { copy.textContent = said.textContent = say("refused"); });
    });
    sortable(table);
  }

  // --- thresholds --------------------------------------------------------------------------------
  const XMLNS = "http://www.w3.org/2000/svg", SIDE = 120;
  const plot = (title, across, up, points) => {
    const add = (parent, tag, attributes, text = "") => {
      const element = document.createElementNS(XMLNS, tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.textContent = text;
      parent.append(element);
      return element;
    };
    const svg = document.createElementNS(XMLNS, "svg"), at = ([x, y]) => `${24 + SIDE * x},${10 + SIDE * (1 - y)}`;
    for (const [name, value] of [["viewBox", "0 0 160 160"], ["role", "img"], ["aria-label", title]]) svg.setAttribute(name, value);
    add(svg, "rect", {x: 24, y: 10, width: SIDE, height: SIDE, class: "frame"});
    add(svg, "polyline", {points: points.filter(Boolean).map(at).join(" "), class: "curve"});
    add(svg, "text", {x: 84, y: 148, "text-anchor": "middle"}, across);
    add(svg, "text", {x: 14, y: 70, "text-anchor": "middle", transform: "rotate(-90 14 70)"}, up);
    const dot = add(svg, "circle", {r: 4, class: "point"});
    svg.move = point => {
      dot.setAttribute("visibility", point ? "visible" : "hidden");
      if (point) [dot.cx.baseVal.value, dot.cy.baseVal.value] = at(point).split(",").map(Number);
    };
    return svg;
  };
  const countedFrom = counts => {  // how many scores are at or above each threshold; none above the last
    const sums = [0];
    for (const count of counts.split(" ").map(Number).reverse()) sums.unshift(sums[0] + count);
    return sums;
  };
  const percent = share => isNaN(share) ? say("undefined") : say("percent", {number: fixed(100 * share, 1)});
  const whole = n => n.toLocaleString(language, {maximumFractionDigits: 0});
  const trial = (panel, perThousand) => {
    const data = panel.dataset, alarms = countedFrom(data.negative), found = countedFrom(data.positive);
    const positives = found[0], negatives = alarms[0], shades = data.shades.split(" ").map(Number);
    const points = found.map((n, i) => [alarms[i] / negatives, n / positives]);
    const precision = found.map((n, i) => n + alarms[i] ? [n / positives, n / (n + alarms[i])] : null);
    const name = panel.querySelector("caption").textContent.trim();
    const plots = [plot(say("roc", {model: name}), say("false_alarms"), say("sensitivity"), points),
      plot(say("precision_recall", {model: name}), say("recall"), say("precision"), precision)];
    panel.querySelector(".plots").append(...plots);
    const slider = panel.querySelector("input"), shown = panel.querySelector("output"), lines = panel.querySelector(".rates");
    const counts = [...panel.querySelectorAll(".count")];
    let own = true;  // the threshold of the report, which lies between two steps
    const draw = () => {
      const i = Number(slider.value);
      const [tp, fp] = own ? data.own.split(" ").map(Number) : [found[i], alarms[i]];
      const fn = positives - tp, tn = negatives - fp, share = Number(perThousand.value) / 1000;
      [[tp, positives], [fn, positives], [fp, negatives], [tn, negatives]].forEach(([n, all], k) => {
        const part = n / all, mixed = [0, 1, 2].map(c => Math.round(shades[c] + (shades[c + 3] - shades[c]) * part));
        counts[k].style.background = `rgb(${mixed.join(", ")})`;
        counts[k].querySelector(".big").textContent = whole(n);
        counts[k].querySelector(".share").textContent = percent(part);
      });
      const sensitivity = tp / positives, specificity = tn / negatives, valid = share >= 0 && share <= 1 && perThousand.value !== "";
      const missed = (1 - sensitivity) * share, wrong = (1 - specificity) * (1 - share);
      const ppv = sensitivity * share / (sensitivity * share + wrong), npv = specificity * (1 - share) / (specificity * (1 - share) + missed);
      shown.textContent = own ? say("own", {threshold: data.threshold}) : fixed(Number(data.start) + i * Number(data.step), Number(data.digits));
      slider.setAttribute("aria-valuetext", shown.textContent);
      lines.replaceChildren(...[say("rates", {sensitivity: percent(sensitivity), specificity: percent(specificity)}), valid
        ? say("cases", {positive: whole(1000 * share), missed: whole(1000 * missed), alarms: whole(1000 * wrong), ppv: percent(ppv), npv: percent(npv)})
        : say("thousand")].map(text => make("li", {}, text)));
      plots[0].move([fp / negatives, tp / positives]);
      plots[1].move(tp + fp ? [tp / positives, tp / (tp + fp)] : null);
    };
    const nearest = () => {
      slider.value = Math.round((number(data.threshold) - Number(data.start)) / Number(data.step));
      own = true;
      draw();
    };
    slider.max = found.length - 1;
    slider.addEventListener("input", () => { own = false; draw(); });
    panel.querySelector("button").addEventListener("click", nearest);
    perThousand.addEventListener("input", draw);
    nearest();
  };
  for (const block of document.querySelectorAll(".explore")) {
    const perThousand = block.querySelector(".prevalence input");
    for (const panel of block.querySelectorAll(".trial")) trial(panel, perThousand);
    block.hidden = false;
  }
})();
