# Makes the data and R's results in this folder. Run in this folder: Rscript generate.R
# All data are simulated here. Ordered answers: ordinal::clmm. Lapses: lme4::glmer with a link of
# its own. Marginal means: emmeans. Everything else: lme4 and base R.
suppressMessages({library(lme4); library(ordinal); library(emmeans); library(jsonlite)})
set.seed(20261125)
keep <- function(x, name) write_json(x, paste0(name, ".json"), digits = 10, auto_unbox = TRUE, na = "null", pretty = TRUE)
named <- function(x) as.list(setNames(as.numeric(x), names(x)))
quiet <- function(x) suppressWarnings(suppressMessages(x))

# Six ordered answers, people crossed with units.
d <- expand.grid(unit = sprintf("u%02d", 1:24), person = sprintf("p%02d", 1:40))
d <- d[sample(nrow(d), 700), ]
d$mode <- ifelse(runif(nrow(d)) < 0.5, "natural", "synthetic")
d$depth <- round(runif(nrow(d)), 3)
eta <- 1.1 - 1.0 * (d$mode == "synthetic") + 0.6 * d$depth +
  rnorm(40, sd = 0.6)[as.integer(factor(d$person))] + rnorm(24, sd = 0.9)[as.integer(factor(d$unit))]
d$rating <- 1 + findInterval(eta + rlogis(nrow(d)), c(-2, -1.1, -0.1, 0.8, 2))
write.csv(d, "ordered.csv", row.names = FALSE, quote = FALSE)
d$answer <- factor(d$rating, ordered = TRUE)
both <- list()
for (link in c("logit", "probit")) for (kind in c("flexible", "symmetric")) {
  m <- quiet(clmm(answer ~ mode + depth + (1 | person) + (1 | unit), data = d, link = link, threshold = kind,
                  control = clmm.control(gradTol = 1e-6)))
  se <- sqrt(diag(vcov(m)))
  both[[paste(link, kind)]] <- list(
    link = link, thresholds = kind, logLik = as.numeric(logLik(m)), AIC = AIC(m),
    fixed = named(m$beta), se = named(se[names(m$beta)]),
    shape = as.list(as.numeric(m$Theta)),
    shape_se = if (kind == "flexible") as.list(as.numeric(se[names(m$alpha)])) else NULL,
    sd = named(sapply(VarCorr(m), function(v) sqrt(v[1, 1]))),
    modes = as.list(as.numeric(ranef(m)$unit[, 1])))
}
keep(list(engine = sprintf("ordinal %s", packageVersion("ordinal")), formula = "rating ~ mode + depth + (1 | person) + (1 | unit)", fits = both), "ordered")

# A lapse rate of 0.06, known to the link.
lapsing <- function(lapse) structure(list(
  linkfun = function(mu) qlogis(pmin(pmax((mu - lapse / 2) / (1 - lapse), 1e-12), 1 - 1e-12)),
  linkinv = function(eta) lapse / 2 + (1 - lapse) * plogis(eta),
  mu.eta = function(eta) (1 - lapse) * dlogis(eta), valideta = function(eta) TRUE, name = "lapse"), class = "link-glm")
d <- expand.grid(unit = sprintf("u%02d", 1:40), person = sprintf("p%02d", 1:50))
d <- d[sample(nrow(d), 1600), ]
d$x <- round(rnorm(nrow(d)), 3)
d$mode <- ifelse(runif(nrow(d)) < 0.5, "natural", "synthetic")
eta <- 1.6 + 1.0 * d$x - 1.1 * (d$mode == "synthetic") +
  rnorm(50, sd = 0.5)[as.integer(factor(d$person))] + rnorm(40, sd = 0.8)[as.integer(factor(d$unit))]
d$correct <- rbinom(nrow(d), 1, lapsing(0.06)$linkinv(eta))
write.csv(d, "lapse.csv", row.names = FALSE, quote = FALSE)
fits <- list()
for (lapse in c(0, 0.06, 0.12)) {
  m <- quiet(glmer(correct ~ x + mode + (1 | person) + (1 | unit), d, binomial(lapsing(lapse)),
                   control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-11, optCtrl = list(maxfun = 1e5, rhoend = 1e-9)),
                   start = list(theta = c(0.5, 0.8), fixef = c(1.6, 1.0, -1.1)), mustart = NULL))
  fits[[sprintf("%g", lapse)]] <- list(lapse = lapse, logLik = as.numeric(logLik(m)), fixed = named(fixef(m)),
    se = named(sqrt(diag(as.matrix(vcov(m))))), sd = named(sapply(VarCorr(m), function(v) sqrt(v[1, 1]))))
}
keep(list(engine = sprintf("lme4 %s", packageVersion("lme4")), formula = "correct ~ x + mode + (1 | person) + (1 | unit)", fits = fits), "lapse")

# Means, contrasts, tests, variances and predictions of a logistic model of lapse.csv.
d <- read.csv("lapse.csv", stringsAsFactors = TRUE)
d$third <- factor(c("low", "middle", "high")[1 + as.integer(d$unit) %% 3], levels = c("high", "low", "middle"))
write.csv(d, "lapse.csv", row.names = FALSE, quote = FALSE)
ctl <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-11, optCtrl = list(maxfun = 1e5, rhoend = 1e-9))
full <- glmer(correct ~ x * mode + third + (1 | person) + (1 | unit), d, binomial, control = ctl)
plain <- glmer(correct ~ x + mode + third + (1 | person) + (1 | unit), d, binomial, control = ctl)
none <- glmer(correct ~ x + mode + (1 | person), d, binomial, control = ctl)
probability <- function(specs) as.data.frame(summary(emmeans(full, specs), type = "response"))
sd_total <- sqrt(sum(sapply(VarCorr(full), function(v) v[1, 1])))
grid <- as.data.frame(ref_grid(full)@grid)[, c("x", "mode", "third")]
eta <- predict(full, grid, re.form = NA)
average <- function(e) integrate(function(b) plogis(e + b) * dnorm(b, sd = sd_total), -Inf, Inf, rel.tol = 1e-10)$value
grid$population <- sapply(eta, average)
test <- function(a) list(chisq = a$Chisq[2], df = a$Df[2], p = a[["Pr(>Chisq)"]][2])
link_pairs <- as.data.frame(pairs(emmeans(full, "third"), adjust = "tukey"))
vfix <- var(as.numeric(model.matrix(full) %*% fixef(full)))
vran <- sapply(VarCorr(full), function(v) v[1, 1])
keep(list(
  engine = sprintf("lme4 %s, emmeans %s", packageVersion("lme4"), packageVersion("emmeans")),
  formula = "correct ~ x * mode + third + (1 | person) + (1 | unit)",
  mode = probability("mode"), third = probability("third"),
  population = aggregate(population ~ mode, grid, mean),
  link_pairs = link_pairs, regrid_pairs = as.data.frame(pairs(regrid(emmeans(full, "third")), adjust = "holm")),
  anova = test(anova(plain, full)), variance = test(anova(none, update(none, . ~ . + (1 | unit)))),
  drop1 = as.data.frame(drop1(full, test = "Chisq")),
  correlation = unname(cov2cor(as.matrix(vcov(full)))),
  r2 = list(marginal = vfix / (vfix + sum(vran) + pi^2 / 3), conditional = (vfix + sum(vran)) / (vfix + sum(vran) + pi^2 / 3)),
  icc = as.list(vran / (sum(vran) + pi^2 / 3)),
  ranef = as.data.frame(ranef(full, condVar = TRUE))[, c("grpvar", "grp", "condval", "condsd")],
  conditional = as.numeric(predict(full, d[1:12, ], type = "response")),
  zero = as.numeric(predict(full, d[1:12, ], re.form = NA, type = "response"))), "means")
