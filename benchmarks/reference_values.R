# Reference values from independent software: reads the input written by
# reference_values.py, prints one "quantity <tab> value <tab> software <tab> why" line per figure;
# `why` says why the figure is not ours, where another definition or default is meant.
# Needs pROC, survey, geepack, rms and epiR (Debian: r-cran-proc, r-cran-survey, ...).
suppressMessages({library(pROC); library(survey); library(geepack); library(rms); library(epiR)})
args <- commandArgs(trailingOnly = TRUE)
d <- read.csv(args[1])
version_of <- function(p) paste(p, packageVersion(p))
r_version <- paste("R", getRversion())
say <- function(quantity, value, software = r_version, why = "")
  cat(sprintf("%s\t%.17g\t%s\t%s\n", quantity, value, software, why))

## AUC -------------------------------------------------------------------------
proc <- version_of("pROC")
ra <- roc(d$y, d$a, direction = "<", quiet = TRUE)
rb <- roc(d$y, d$b, direction = "<", quiet = TRUE)
rt <- roc(d$y, d$tied, direction = "<", quiet = TRUE)
say("auc(a)", as.numeric(auc(ra)), proc)
say("auc(tied)", as.numeric(auc(rt)), proc)
say("auc variance(a)", var(ra, method = "delong"), proc)
say("auc variance(tied)", var(rt, method = "delong"), proc)
say("auc covariance(a, b)", cov(ra, rb, method = "delong"), proc)
for (name in c("a", "tied")) {
  curve <- list(a = ra, tied = rt)[[name]]
  area <- as.numeric(auc(curve))
  error <- sqrt(var(curve, method = "delong")) / (area * (1 - area))
  limits <- plogis(qlogis(area) + c(-1, 1) * qnorm(0.975) * error)
  say(sprintf("auc logit low(%s)", name), limits[1], paste0(proc, ", plogis"))
  say(sprintf("auc logit high(%s)", name), limits[2], paste0(proc, ", plogis"))
}
test <- roc.test(rb, ra, method = "delong", paired = TRUE)  # second minus first is negated below
say("auc difference(a, b)", as.numeric(auc(rb) - auc(ra)), proc)
say("auc difference p(a, b)", test$p.value, proc)
say("auc difference low(a, b)", test$conf.int[1], proc)
say("auc difference high(a, b)", test$conf.int[2], proc)

scale <- "its interval is symmetric in the AUC and may pass 1; ours is symmetric in the logit"
say("auc low(a), ci.auc", ci.auc(ra)[1], proc, scale); say("auc high(a), ci.auc", ci.auc(ra)[3], proc, scale)

## Obuchowski 1997, straight from its formulas, over all pairs -----------------
psi <- function(s) outer(s[d$y == 1], s[d$y == 0], function(x, z) (x > z) + 0.5 * (x == z))
clusters <- sort(unique(d$patient)); I <- length(clusters)
gp <- factor(d$patient[d$y == 1], clusters); gn <- factor(d$patient[d$y == 0], clusters)
parts <- lapply(list(d$a, d$b), function(s) {
  k <- psi(s); A <- mean(k)
  list(A = A, x = as.vector(tapply(rowMeans(k) - A, gp, sum, default = 0)),
       z = as.vector(tapply(colMeans(k) - A, gn, sum, default = 0)))
})
M <- sum(d$y == 1); N <- sum(d$y == 0); I10 <- length(unique(gp)); I01 <- length(unique(gn))
S <- function(p, q) I10 / (I10 - 1) * sum(p$x * q$x) / M^2 + I01 / (I01 - 1) * sum(p$z * q$z) / N^2 +
  I / (I - 1) * (sum(p$x * q$z) + sum(q$x * p$z)) / (M * N)
say("clustered auc variance(a)", S(parts[[1]], parts[[1]]), paste(r_version, "(all pairs)"))
say("clustered auc covariance(a, b)", S(parts[[1]], parts[[2]]), paste(r_version, "(all pairs)"))

## One proportion --------------------------------------------------------------
w <- prop.test(81, 93, correct = FALSE)$conf.int
say("wilson low(81/93)", w[1]); say("wilson high(81/93)", w[2])
w0 <- prop.test(0, 29, correct = FALSE)$conf.int
say("wilson high(0/29)", w0[2])
cp <- binom.test(81, 93)$conf.int
say("clopper-pearson low(81/93)", cp[1]); say("clopper-pearson high(81/93)", cp[2])
say("clopper-pearson high(0/29)", binom.test(0, 29)$conf.int[2])
e <- epi.tests(as.table(matrix(c(81, 20, 12, 140), 2, byrow = TRUE)), method = "wilson")$detail
say("wilson low(ppv 81/101)", e[e$statistic == "pv.pos", "lower"], version_of("epiR"))
say("wilson high(ppv 81/101)", e[e$statistic == "pv.pos", "upper"], version_of("epiR"))

## Several cases of one patient ------------------------------------------------
d$right <- as.numeric((d$a >= 0.5) == (d$y == 1))
d$gain <- as.numeric((d$b >= 0.5) == (d$y == 1)) - d$right
design <- suppressWarnings(svydesign(ids = ~patient, data = d))
say("clustered mean variance(a right)", as.numeric(vcov(svymean(~right, design))), version_of("survey"))
say("clustered mean variance(b - a right)", as.numeric(vcov(svymean(~gain, design))), version_of("survey"))
k <- length(clusters)
gee <- geeglm(gain ~ 1, id = patient, data = d, corstr = "independence")
say("clustered mean variance(b - a right), GEE", vcov(gee)[1, 1] * k / (k - 1),
    paste0(version_of("geepack"), ", times k/(k-1)"))
n <- nrow(d); z <- qnorm(0.975)
deff <- as.numeric(vcov(svymean(~right, design))) / (var(d$right) / n)
ne <- n / max(deff, 1) * (qt(0.975, n - 1) / qt(0.975, k - 1))^2; p <- mean(d$right)
half <- z * sqrt(p * (1 - p) / ne + z^2 / (4 * ne^2))
say("clustered wilson low(a right)", (p + z^2 / (2 * ne) - half) / (1 + z^2 / ne), version_of("survey"))
say("clustered wilson high(a right)", (p + z^2 / (2 * ne) + half) / (1 + z^2 / ne), version_of("survey"))

## Paired proportions ----------------------------------------------------------
# Tango from first principles: the constrained maximum of the likelihood is searched for,
# not written down, and the score statistic inverted.
tango <- function(gain, loss, n, sign) {
  z <- qnorm(0.975); est <- (gain - loss) / n
  score <- function(delta) {
    lo <- max(0, -delta); hi <- (1 - delta) / 2
    loglik <- function(q) { # q: probability of the loss cell
      t <- function(x, p) if (x == 0) 0 else x * log(p)
      t(gain, q + delta) + t(loss, q) + t(n - gain - loss, 1 - 2 * q - delta)
    }
    q <- optimize(loglik, c(lo, hi), maximum = TRUE, tol = 1e-14)$maximum
    # Polish by the likelihood equation, which an interval search meets to 1e-8 only.
    slope <- function(q) (if (gain) gain / (q + delta) else 0) + (if (loss) loss / q else 0) -
      2 * (n - gain - loss) / (1 - 2 * q - delta)
    h <- 1e-6; l <- max(q - h, lo + 1e-13); u <- min(q + h, hi - 1e-13)
    if (slope(l) * slope(u) < 0) q <- uniroot(slope, c(l, u), tol = 1e-15)$root
    else if (abs(q - lo) < 1e-6) q <- lo
    (gain - loss - n * delta) / sqrt(n * (2 * q + delta * (1 - delta)))
  }
  if (sign > 0) uniroot(function(x) score(x) + z, c(est + 1e-9, 1 - 1e-9), tol = 1e-13)$root
  else uniroot(function(x) score(x) - z, c(-1 + 1e-9, est - 1e-9), tol = 1e-13)$root
}
how <- paste(r_version, "(constrained likelihood maximised)")
for (t in list(c(6, 16, 161), c(1, 7, 21), c(40, 20, 160), c(0, 0, 50))) {
  label <- sprintf("gain %d, loss %d, n %d", t[1], t[2], t[3])
  say(sprintf("tango low(%s)", label), tango(t[1], t[2], t[3], -1), how)
  say(sprintf("tango high(%s)", label), tango(t[1], t[2], t[3], 1), how)
}
newcombe <- function(a, b, c, d) { # a both, b first only, c second only
  n <- a + b + c + d; p1 <- (a + b) / n; p2 <- (a + c) / n
  l <- sapply(c(a + b, a + c), function(x) prop.test(x, n, correct = FALSE)$conf.int)
  A <- a * d - b * c; A <- if (A > 0) max(A - n / 2, 0) else A
  phi <- A / sqrt((a + b) * (c + d) * (a + c) * (b + d))
  c(p1 - p2 - sqrt((p1 - l[1, 1])^2 - 2 * phi * (p1 - l[1, 1]) * (l[2, 2] - p2) + (l[2, 2] - p2)^2),
    p1 - p2 + sqrt((p2 - l[1, 2])^2 - 2 * phi * (p2 - l[1, 2]) * (l[2, 1] - p1) + (l[2, 1] - p1)^2))
}
nc <- newcombe(59, 6, 16, 80)
say("newcombe low(59, 6, 16, 80)", nc[1], paste0(r_version, " (prop.test limits)"))
say("newcombe high(59, 6, 16, 80)", nc[2], paste0(r_version, " (prop.test limits)"))
midp <- function(b, c) binom.test(min(b, c), b + c)$p.value - dbinom(min(b, c), b + c, 0.5)
say("mcnemar mid-p(6, 16)", midp(6, 16)); say("mcnemar mid-p(1, 7)", midp(1, 7))

## Calibration -----------------------------------------------------------------
d$logit <- qlogis(pmin(pmax(d$a, 1e-6), 1 - 1e-6))
m <- glm(y ~ logit, binomial, d, control = glm.control(epsilon = 1e-14))
say("calibration slope(a)", coef(m)[2]); s <- sqrt(diag(vcov(m)))[2]
say("calibration slope low(a)", coef(m)[2] - qnorm(0.975) * s)
m0 <- glm(y ~ offset(logit), binomial, d, control = glm.control(epsilon = 1e-14))
say("calibration in the large(a)", coef(m0)[1])
say("calibration in the large low(a)", coef(m0)[1] - qnorm(0.975) * sqrt(vcov(m0)[1, 1]))
design <- suppressWarnings(svydesign(ids = ~patient, data = d))
ms <- suppressWarnings(svyglm(y ~ logit, design, family = quasibinomial(),
                              control = glm.control(epsilon = 1e-14)))
say("clustered calibration slope error(a)", SE(ms)[2], version_of("survey"))
v <- val.prob(d$a, d$y, pl = FALSE)
say("brier(a)", v["Brier"], version_of("rms")); say("slope(a), val.prob", v["Slope"], version_of("rms"))
fit <- loess(y ~ a, d, degree = 1, span = 0.75,
             control = loess.control(surface = "direct", statistics = "exact"))
for (x in c(0.1, 0.5, 0.9)) say(sprintf("reliability curve(a) at %.1f", x), predict(fit, data.frame(a = x)))

## Several models --------------------------------------------------------------
h <- p.adjust(c(0.049, 0.02, 0.3, NA, 0.0004), "holm")
for (i in c(1, 2, 3, 5)) say(sprintf("holm(%d)", i), h[i])

## What val.prob shows beside slope and Brier score, and the distances of the curve by R's own loess
say("intercept(a), val.prob", v["Intercept"], version_of("rms"),
    "that of the line with a free slope; ours is in the large, the slope held at 1")
ends <- "lowess, which leaves [0, 1] at the ends of the scale; ours is loess, kept within"
say("ici(a), val.prob", v["Eavg"], version_of("rms"), ends); say("e90(a), val.prob", v["E90"], version_of("rms"), ends)
distance <- abs(pmin(pmax(predict(fit, data.frame(a = d$a)), 0), 1) - d$a)
between <- "the curve at every case; ours is read off between 51 points of it"
say("ici(a)", mean(distance), r_version, between)
say("e50(a)", median(distance), r_version, between)
say("e90(a)", quantile(distance, 0.9), r_version, between)
