# Makes more.csv and lme4's results on it in more.json: offsets, weights, nested factors, polynomials,
# splines, contrasts, probit slopes, fits on the boundary. Run in this folder: Rscript generate_more.R
# All data are simulated here.
suppressMessages({library(lme4); library(splines)})
set.seed(20261125)
n <- 960
d <- data.frame(g = sprintf("g%02d", rep(1:24, each = 40)), h = sprintf("h%02d", rep(1:40, 24)), k = sprintf("k%d", rep(rep(1:4, each = 10), 24)),
  x = round(rnorm(n), 3), z = round(runif(n, -1, 1), 3), m = sample(c("nat", "syn"), n, TRUE), f = sample(c("a", "b", "c"), n, TRUE), o = sample(c("1low", "2mid", "3high"), n, TRUE),
  off = round(rnorm(n, sd = 0.5), 2))
i <- as.integer(factor(d$g)); j <- as.integer(factor(d$h)); b <- matrix(rnorm(48), 24) %*% chol(matrix(c(0.6, 0.2, 0.2, 0.3), 2))
eta <- 0.4 + 0.6 * d$x - 0.3 * d$x^2 + 0.5 * (d$m == "syn") + c(0, 0.3, -0.4)[factor(d$f)] + d$off + b[i, 1] + b[i, 2] * d$x + rnorm(40, sd = 0.4)[j]
d$y <- rbinom(n, 1, plogis(eta)); d$q <- rbinom(n, 1, pnorm(eta / 1.6)); d$t <- rpois(n, 5) + 1; d$s <- rbinom(n, d$t, plogis(eta))
d$r <- round(eta + rnorm(n), 4); d$null <- round(rnorm(n), 4); d$coin <- rep(c(0, 1, 1, 0), n / 4)
write.csv(d, "more.csv", row.names = FALSE)
d$p <- d$s / d$t
tight <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10, optCtrl = list(maxfun = 1e5, rhoend = 1e-8))
lctl <- lmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-8))
num <- function(x) ifelse(is.finite(x), sprintf("%.10g", x), "null")
esc <- function(s) gsub('"', '\\\\"', s)
cases <- list(
  c("y ~ x + offset(off) + (1|g)", "logit"), c("y ~ poly(x, 2) + m + offset(off) + (1 + x|g)", "logit"), c("y ~ offset(2 * off) + (1|g) + (1|h)", "logit"),
  c("s/t ~ x + m + (1|g)", "logit", "t"), c("p ~ x + m + offset(off) + (1|g) + (1|h)", "logit", "t"), c("cbind(s, t - s) ~ m/x + (1|g)", "logit"),
  c("y ~ x + (1|g/k)", "logit"), c("y ~ x + m + (1|g:k) + (1|h)", "logit"), c("r ~ x + (x|g/k)", "ML"), c("r ~ m * f + (1|g/k) + (1|h)", "REML"),
  c("y ~ ns(x, 3) + f + (1|g)", "logit"), c("y ~ bs(x, df = 4) * m + (1|g)", "logit"), c("y ~ ordered(o) * m + (1|g)", "logit"), c("y ~ C(factor(f), sum) + scale(x) + (1|g)", "logit"),
  c("y ~ I(x > 0) * m + (1|g)", "logit"), c("y ~ x + I(x^2) + (1|g) + (1|h)", "logit"), c("y ~ 0 + f + f:x + (1|g)", "logit"), c("y ~ f * x - x + (1|g)", "logit"), c("y ~ (x + m + z)^2 + (1|g)", "logit"),
  c("q ~ x + m + (1 + x|g)", "probit"), c("q ~ x + (1 + x|g) + (1|h)", "probit"), c("q ~ x * f + (1|g) + (0 + x|g)", "probit"), c("s/t ~ x + (1 + z|g)", "probit", "t"),
  c("null ~ x + (1|g)", "ML"), c("null ~ x + (1|g)", "REML"), c("null ~ x + (1 + x|g)", "ML"), c("coin ~ x + (1 + z|g)", "logit"), c("coin ~ x + (1|g)", "probit"),
  c("y ~ m + (0 + m|g)", "logit"), c("y ~ m + (m||g)", "logit"), c("y ~ x + (x + z||g)", "logit"), c("r ~ x + f + (0 + f|g)", "ML"), c("y ~ x + (0 + m:x|g)", "logit"), c("y ~ 0 + (1|g)", "logit"), c("(r) ~ (x + m)^2 - m + (1|h)", "REML"))
one <- function(case) {
  f <- as.formula(case[1]); w <- if (length(case) > 2) d[[case[3]]] else NULL; d$.w <- w
  m <- suppressWarnings(suppressMessages(if (case[2] %in% c("ML", "REML")) lmer(f, d, REML = case[2] == "REML", control = lctl)
    else if (is.null(w)) glmer(f, d, binomial(case[2]), control = tight) else glmer(f, d, binomial(case[2]), weights = .w, control = tight)))
  co <- summary(m)$coefficients
  vc <- as.data.frame(VarCorr(m)); q <- function(x) ifelse(is.na(x), "null", paste0('"', esc(x), '"'))
  fixed <- if (length(co)) paste(sprintf('"%s": {"estimate": %s, "se": %s}', esc(rownames(co)), num(co[, 1]), num(co[, 2])), collapse = ", ") else ""
  random <- paste(sprintf('{"group": "%s", "var1": %s, "var2": %s, "sdcor": %s}', vc$grp, q(vc$var1), q(vc$var2), num(vc$sdcor)), collapse = ", ")
  sprintf('{"formula": "%s", "kind": "%s", "weights": %s, "n": %d, "logLik": %s, "singular": %s,\n "fixed": {%s},\n "random": [%s]}', esc(case[1]), case[2],
    if (is.null(w)) "null" else paste0('"', case[3], '"'), nobs(m), num(as.numeric(logLik(m))), tolower(isSingular(m)), fixed, random)
}
writeLines(paste0("[", paste(vapply(cases, one, ""), collapse = ",\n"), "]"), "more.json")
