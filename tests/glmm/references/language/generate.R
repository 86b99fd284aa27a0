# Fits every formula of formulas.txt (kind|formula) to table.csv or missing.csv by lme4, and asks some of
# the models of an unbalanced table what emmeans, predict, ranef, drop1 and Nakagawa's formula say.
# Run in this folder: Rscript generate.R. The tables are simulated.
suppressMessages({library(lme4); library(splines); library(emmeans); library(jsonlite)})
keep <- function(x, name) write_json(x, paste0(name, ".json"), digits = 10, auto_unbox = TRUE, na = "null", pretty = TRUE)
quiet <- function(x) suppressWarnings(suppressMessages(x))
read <- function(file) {
  d <- read.csv(file)
  for (v in intersect(c("f", "m", "yes"), names(d))) d[[v]] <- factor(d[[v]], levels = sort(unique(d[[v]]), method = "radix"))
  if (!is.null(d$b)) d$b <- d$b == "True"
  d
}
d <- read("table.csv"); missing <- read("missing.csv")
tight <- list(maxfun = 1e5, rhoend = 1e-9)
linear <- lmerControl(optimizer = "bobyqa", optCtrl = tight)
general <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10, optCtrl = tight)
fitted_to <- function(kind, formula) {
  f <- as.formula(formula)
  quiet(switch(kind, binomial = glmer(f, d, binomial, control = general), probit = glmer(f, d, binomial("probit"), control = general),
    REML = lmer(f, d, control = linear), ML = lmer(f, d, REML = FALSE, control = linear), W = lmer(f, d, weights = w, control = linear),
    F = glmer(f, d, binomial, weights = n, control = general), na = glmer(f, missing, binomial, control = general),
    naW = lmer(f, missing, weights = w, control = linear)))
}
lines <- strsplit(readLines("formulas.txt"), "|", fixed = TRUE)
keep(lapply(lines, function(parts) {
  formula <- paste(parts[-1], collapse = "|"); m <- fitted_to(parts[1], formula); co <- coef(summary(m))
  list(kind = parts[1], formula = formula, n = nobs(m), logLik = as.numeric(logLik(m)),
       names = I(rownames(co)), estimate = I(unname(co[, 1])), se = I(unname(co[, 2])))
}), "fits")

rows <- d[seq(7, 900, by = 45), ]
nakagawa <- function(m) {
  X <- model.matrix(m); fixed <- var(as.vector(X %*% fixef(m))); V <- VarCorr(m)
  Z <- getME(m, "mmList"); random <- sum(sapply(seq_along(Z), function(i) mean(rowSums((Z[[i]] %*% V[[i]]) * Z[[i]]))))
  own <- if (isGLMM(m)) pi^2 / 3 else sigma(m)^2
  c(fixed / (fixed + random + own), (fixed + random) / (fixed + random + own))
}
means <- function(m, by) { e <- quiet(as.data.frame(emmeans(m, by, lmer.df = "asymptotic"))); list(by = by, estimate = e$emmean, se = e$SE) }
asked <- list(
  list("binomial", "y ~ x*f + m + (1|g)", "f"), list("binomial", "y ~ offset(off) + poly(x, 2)*m + (1|g)", "m"),
  list("binomial", "y ~ b*x + f + (1|g)", "f"), list("binomial", "y ~ scale(z) + factor(k)*m + (x|g)", "m"),
  list("binomial", "y ~ ns(x, 3) + m + (1|g/h)", "m"), list("binomial", "y ~ f/x + (1|g)", "f"),
  list("binomial", "y ~ log(p) + I(x^2) + x + m + (1|g)", "m"), list("F", "frac ~ x*m + (1|g)", "m"),
  list("W", "yc ~ x*m + offset(off) + (x|g)", "m"), list("REML", "log(pos) ~ f*m + (1|g)", "f"))
keep(lapply(asked, function(one) {
  m <- fitted_to(one[[1]], one[[2]]); r <- as.data.frame(ranef(m, condVar = TRUE))
  r <- r[order(as.character(r$grpvar), as.character(r$term), as.character(r$grp)), ]
  out <- list(kind = one[[1]], formula = one[[2]], means = means(m, one[[3]]),
    typical = unname(predict(m, rows, re.form = NA)), conditional = unname(predict(m, rows)),
    modes = r$condval, conditional_sd = r$condsd, r2 = nakagawa(m))
  if (isGLMM(m)) { t <- quiet(drop1(m, test = "Chisq"))[-1, ]; out$drop1 <- I(unname(t$LRT)) }
  out
}), "after")
