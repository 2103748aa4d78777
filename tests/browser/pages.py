"""What a person does on Prefect's pages: open, read, type, choose, click.

Fields are found by the titles that the configuration gives them, section by section, as a
person finds them; nothing is set behind the page's back.
"""

from __future__ import annotations

import base64
import contextlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from selenium.common.exceptions import (
    ElementClickInterceptedException,
    ElementNotInteractableException,
    StaleElementReferenceException,
    TimeoutException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from flows.serving import ask
from medcompare.config.schema import CompareConfig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from selenium.webdriver.remote.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

    from flows.serving import Place

SCHEMA: dict[str, Any] = CompareConfig.model_json_schema()
ENDED = ("Completed", "Failed", "Crashed", "Cancelled")
TALLEST_PX = 12_000
UNFOLD = CompareConfig.model_config["title"]
FIELD = (
    "//div[contains(concat(' ', @class, ' '), ' schema-form-property ')]"
    "[div[contains(@class, 'p-label__header')]//span[contains(@class, 'schema-form-property__label')"
    " and normalize-space() = '{title} (Optional)']]"
)


def titles(name: str) -> list[str]:
    """What the form calls the field with the dotted `name`, after what it calls the sections around it."""
    found, schema = ["config"], SCHEMA
    for part in name.split("."):
        schema = schema["properties"][part]
        # A section without a title of its own is called as in the code, not as its class.
        found.append(schema.get("title") or part.replace("_", " ").title())
        for choice in schema.get("anyOf", ()):
            if "$ref" in choice:  # a section that is folded at first
                schema = SCHEMA["$defs"][choice["$ref"].rpartition("/")[2]]
    return found


class Pages:
    """A browser at the pages of one server.

    Parameters
    ----------
    driver : WebDriver
        The browser.
    place : Place
        The server.
    screenshots : Path or None
        Folder for pictures of every step, None for none.
    """

    def __init__(self, driver: WebDriver, place: Place, *, screenshots: Path | None) -> None:
        self.driver, self.place, self._screenshots = driver, place, screenshots

    # --- anywhere ----------------------------------------------------------------------------------

    def open(self, path: str) -> None:
        """Open a page of the server."""
        self.driver.get(self.place.ui + path)

    def wait(self, condition: Callable[[WebDriver], Any], what: str, *, seconds: float = 20) -> Any:
        """First true value of `condition`; the page is shown where there is none."""
        waiting = WebDriverWait(
            self.driver, seconds, 0.2, ignored_exceptions=(StaleElementReferenceException,)
        )
        try:
            return waiting.until(condition)
        except TimeoutException:
            self.shot("timeout")
            msg = f"{what}: not within {seconds:.0f} s; {self.driver.current_url} shows:\n{self.text()}"
            raise AssertionError(msg) from None

    def text(self) -> str:
        """Everything that can be read on the page."""
        return str(self.driver.find_element(By.TAG_NAME, "body").text)

    def wait_for_text(self, text: str, *, seconds: float = 20) -> str:
        """The page's text, once `text` stands in it."""
        return str(self.wait(lambda _: self._text_with(text), f"'{text}'", seconds=seconds))

    def _text_with(self, text: str) -> str:
        shown = self.text()
        return shown if text in shown else ""

    def all(self, selector: str) -> list[WebElement]:
        """Elements that a CSS selector finds."""
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def click(self, element: WebElement) -> None:
        """Bring `element` to the middle of the window and click it."""
        self._to_the_middle(element)
        element.click()

    def open_tab(self, title: str) -> None:
        """Choose a tab of a run's page."""
        tab = f"//li[contains(@class, 'p-tab')][normalize-space() = '{title}']"
        self.click(self.wait(lambda d: d.find_elements(By.XPATH, tab), f"the tab {title}")[0])

    def shot(self, name: str) -> None:
        """Picture of the whole page, beyond the window's edge, where pictures are wanted."""
        if self._screenshots is None:
            return
        self._screenshots.mkdir(parents=True, exist_ok=True)
        tall = "return Math.max(...[...document.querySelectorAll('*')].map(e => e.scrollHeight))"
        height = min(int(self.driver.execute_script(tall)) + 150, TALLEST_PX)
        size = {"width": 1400, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        data = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        (self._screenshots / f"{name}.png").write_bytes(base64.b64decode(data))

    # --- a run, and what it left behind ------------------------------------------------------------

    def open_run(self, run_id: str) -> None:
        """Open the page of a run."""
        self.open(f"/runs/flow-run/{run_id}")

    def wait_for_end(self, *, seconds: float) -> str:
        """State of the run whose page is open, once it has ended; the page follows it by itself."""

        def state(_: WebDriver) -> str:
            shown = self.all(".page-heading-flow-run .state-badge")
            return shown[0].text if shown and shown[0].text in ENDED else ""

        return str(self.wait(state, "the end of the run", seconds=seconds))

    def wait_for_end_in_list(self, run_id: str, *, seconds: float) -> str:
        """State of a run once it has ended, on the page of its deployment, which follows it by itself.

        The page of a run draws its graph again all the time: without a graphics card that takes
        cores from the trainings.
        """
        self.open(f"/deployments/deployment/{self._deployment()}?tab=Runs")
        card = f"//*[contains(@class, 'state-list-item')][.//a[contains(@href, '{run_id}')]]"

        def state(driver: WebDriver) -> str:
            shown = driver.find_elements(By.XPATH, f"{card}//*[contains(@class, 'state-badge')]")
            return next((one.text for one in shown if one.text in ENDED), "")

        return str(self.wait(state, f"the end of the run {run_id}", seconds=seconds))

    def artifacts(self) -> dict[str, str]:
        """Address of each artifact on the tab that is open, by key."""
        self.open_tab("Artifacts")
        selector = "a[href*='/artifacts/artifact/']"
        cards = self.wait(lambda _: self.all(selector), "artifacts")
        return {card.text.split("\n")[1]: str(card.get_property("href")) for card in cards}

    # --- the form of a manual run ------------------------------------------------------------------

    def open_form(self) -> None:
        """Open the form of ``compare/manual``, and wait until it can be filled in."""
        # By way of another page: the form keeps what was typed when it is opened again.
        self.driver.get("about:blank")
        self.open(f"/deployments/deployment/{self._deployment()}/run")
        self.wait(lambda _: self._found("file_access"), "the last field of the form")

    def field(self, name: str) -> WebElement:
        """The part of the form that belongs to a field of the configuration; sections around it are unfolded."""
        found = self._found(name)
        assert found is not None, f"{name}: the form has no field {' > '.join(titles(name))}"
        return found

    def _found(self, name: str) -> WebElement | None:
        path, found = "", []
        for title in titles(name):
            above, path = path, path + FIELD.format(title=title)
            found = self.driver.find_elements(By.XPATH, path)
            if not found:
                unfold = self.driver.find_elements(
                    By.XPATH, f"{above}//button[normalize-space() = '{UNFOLD}']"
                )
                if not above or not unfold:
                    return None
                self.click(unfold[0])  # the section is drawn again
                found = self.wait(lambda driver, at=path: driver.find_elements(By.XPATH, at), name)
        return found[0]

    def value(self, name: str) -> str:
        """What a field shows."""
        control = self.field(name).find_element(By.CSS_SELECTOR, "input, textarea, select")
        return str(control.get_property("value") or "")

    def choices(self, name: str) -> list[str]:
        """What a drop-down offers."""
        chooser = self.field(name).find_element(By.CSS_SELECTOR, "select")
        return [str(one.get_property("value")) for one in Select(chooser).options]

    def type(self, name: str, text: str) -> None:
        """Type into a field in place of what it shows."""
        control = self.wait(
            lambda _: self.field(name).find_elements(By.CSS_SELECTOR, "input, textarea"), name
        )[0]
        self.click(control)
        control.send_keys(Keys.CONTROL, "a")
        control.send_keys(text)
        assert self.value(name) == text

    def choose(self, name: str, choice: str) -> None:
        """Choose from a drop-down."""
        chooser = self.field(name).find_element(By.CSS_SELECTOR, "select")
        self._to_the_middle(chooser)
        Select(chooser).select_by_value(choice)

    def submit(self) -> None:
        """Press the button at the end of the form."""
        self.click(self.driver.find_element(By.CSS_SELECTOR, "button[type=submit]"))

    def submitted_run(self) -> str:
        """Submit, and follow the note that appears to the run's page; the run's id."""
        self.submit()
        to_run = "//*[contains(@class, 'p-toast')]//*[self::a or self::button][contains(., 'View run')]"

        def followed(driver: WebDriver) -> bool:
            for button in driver.find_elements(By.XPATH, to_run):
                with contextlib.suppress(ElementNotInteractableException, ElementClickInterceptedException):
                    button.click()  # not before the note has come to rest
            return "/flow-run/" in driver.current_url

        self.wait(followed, "the note that leads to the new run")
        return urlsplit(self.driver.current_url).path.rpartition("/")[2]

    def _deployment(self) -> str:
        return str(ask(self.place, "/deployments/name/compare/manual")["id"])

    def _to_the_middle(self, element: WebElement) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
