# Makes the data and lme4 results in this folder. Run in this folder: Rscript generate.R
# All data are simulated here.
suppressMessages(library(lme4))
set.seed(20260722)
num <- function(x) ifelse(is.finite(x), sprintf("%.10g", x), "null")
dump <- function(m, name, formula, family = "binomial", link = "logit", method = "ML", nagq = 1) {
  co <- summary(m)$coefficients
  vc <- as.data.frame(VarCorr(m))
  quote <- function(x) ifelse(is.na(x), "null", paste0('"', x, '"'))
  fixed <- paste(sprintf('"%s": {"estimate": %s, "se": %s}', rownames(co), num(co[, 1]), num(co[, 2])), collapse = ",\n   ")
  random <- paste(sprintf('{"group": "%s", "var1": %s, "var2": %s, "sdcor": %s}', vc$grp, quote(vc$var1), quote(vc$var2), num(vc$sdcor)), collapse = ",\n   ")
  engine <- sprintf("lme4 %s, R %s.%s", packageVersion("lme4"), R.version$major, R.version$minor)
  text <- sprintf('{"formula": "%s",\n "family": "%s", "link": "%s", "method": "%s", "nagq": %d,\n "engine": "%s",\n "n": %d, "logLik": %s, "singular": %s,\n "fixed": {%s},\n "random": [%s]}',
    formula, family, link, method, nagq, engine, nobs(m), ifelse(nagq > 1, "null", num(as.numeric(logLik(m)))), tolower(isSingular(m)), fixed, random)
  writeLines(text, paste0(name, ".json"))
}
save <- function(d, name) write.csv(d, paste0(name, ".csv"), row.names = FALSE)
ctl <- glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-8))
lctl <- lmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-8))
quiet <- function(x) suppressWarnings(suppressMessages(x))

# Twice the same design: no variance between groups at all.
d <- expand.grid(rep = 1:12, g = sprintf("g%02d", 1:15))
d$x <- round(rnorm(nrow(d)), 3)
d$y <- rep(c(0, 1, 0, 1, 1, 0), 30)
save(d, "singular")
dump(quiet(glmer(y ~ x + (1 | g), d, binomial, control = ctl)), "singular", "y ~ x + (1 | g)")

# One failure in 180 answers at level c.
d <- data.frame(level = factor(rep(c("a", "b", "c"), each = 180)), g = sprintf("p%02d", rep(1:30, 18)))
u <- rnorm(30, sd = 0.7)
d$y <- rbinom(nrow(d), 1, plogis(c(0, 0.8, 0)[d$level] + u[as.integer(factor(d$g))]))
d$y[d$level == "c"] <- 1
d$y[400] <- 0
save(d, "near_separated")
dump(quiet(glmer(y ~ level + (1 | g), d, binomial, control = ctl)), "near_separated", "y ~ level + (1 | g)")

# One success in a hundred.
d <- data.frame(p = sprintf("p%03d", rep(1:120, each = 60)), item = sprintf("i%02d", rep(1:60, 120)))
d$x <- round(rnorm(nrow(d)), 3)
d$y <- rbinom(nrow(d), 1, plogis(-5.6 + 0.6 * d$x + rnorm(120)[as.integer(factor(d$p))] + rnorm(60, sd = 0.6)[as.integer(factor(d$item))]))
save(d, "imbalanced")
dump(quiet(glmer(y ~ x + (1 | p) + (1 | item), d, binomial, control = ctl)), "imbalanced", "y ~ x + (1 | p) + (1 | item)")

# Probit, crossed.
d <- data.frame(p = sprintf("p%02d", rep(1:60, each = 30)), item = sprintf("i%02d", rep(1:30, 60)))
d$x <- round(rnorm(nrow(d)), 3)
d$f <- factor(sample(c("u", "v", "w"), nrow(d), TRUE))
d$y <- rbinom(nrow(d), 1, pnorm(0.4 + 0.5 * d$x + c(0, 0.3, -0.3)[d$f] + rnorm(60, sd = 0.8)[as.integer(factor(d$p))] + rnorm(30, sd = 0.5)[as.integer(factor(d$item))]))
save(d, "probit")
dump(quiet(glmer(y ~ x * f + (1 | p) + (1 | item), d, binomial("probit"), control = ctl)), "probit", "y ~ x * f + (1 | p) + (1 | item)", link = "probit")

# Quadrature on successes of trials. lme4's logLik for nAGQ > 1 leaves constants out: stored as null.
d <- data.frame(herd = sprintf("h%02d", rep(1:25, each = 4)), period = factor(rep(1:4, 25)), size = rpois(100, 8) + 2)
d$hit <- rbinom(100, d$size, plogis(c(-1, -1.6, -2, -2.2)[d$period] + rnorm(25)[as.integer(factor(d$herd))]))
d$miss <- d$size - d$hit
save(d, "quadrature")
m <- quiet(glmer(cbind(hit, miss) ~ period + (1 | herd), d, binomial, nAGQ = 11, control = ctl))
dump(m, "quadrature", "cbind(hit, miss) ~ period + (1 | herd)", nagq = 11)

# Three correlated random effects, a second factor crossed with it.
d <- data.frame(p = sprintf("p%02d", rep(1:80, each = 40)), item = sprintf("i%02d", rep(1:40, 80)))
d$x <- round(rnorm(nrow(d)), 3)
d$z <- round(runif(nrow(d), -1, 1), 3)
b <- matrix(rnorm(240), 80) %*% chol(matrix(c(1, .4, .2, .4, .5, 0, .2, 0, .8), 3))
i <- as.integer(factor(d$p))
d$y <- rbinom(nrow(d), 1, plogis(0.3 + b[i, 1] + (0.5 + b[i, 2]) * d$x + (b[i, 3] - 0.4) * d$z + rnorm(40, sd = 0.7)[as.integer(factor(d$item))]))
save(d, "slopes")
dump(quiet(glmer(y ~ x + z + (1 + x + z | p) + (1 | item), d, binomial, control = ctl)), "slopes", "y ~ x + z + (1 + x + z | p) + (1 | item)")
dump(quiet(glmer(y ~ x + z + (1 + x + z || p) + (1 | item), d, binomial, control = ctl)), "slopes_uncorrelated", "y ~ x + z + (1 + x + z || p) + (1 | item)")

# Nested and Gaussian, with a crossed factor and a slope.
d <- data.frame(school = sprintf("s%02d", rep(1:20, each = 40)), class = sprintf("c%d", rep(rep(1:4, each = 10), 20)), rater = sprintf("r%02d", rep(1:16, 50)))
d$x <- round(rnorm(800), 3)
s <- as.integer(factor(d$school)); k <- as.integer(factor(paste(d$school, d$class)))
d$y <- round(2 + 0.7 * d$x + rnorm(20)[s] + rnorm(20, sd = 0.4)[s] * d$x + rnorm(80, sd = 0.6)[k] + rnorm(16, sd = 0.3)[as.integer(factor(d$rater))] + rnorm(800), 5)
save(d, "nested")
dump(quiet(lmer(y ~ x + (1 + x | school) + (1 | school:class) + (1 | rater), d, REML = TRUE, control = lctl)), "nested", "y ~ x + (1 + x | school) + (1 | school:class) + (1 | rater)", family = "gaussian", link = "identity", method = "REML")
dump(quiet(lmer(y ~ x + (1 | school / class), d, REML = FALSE, control = lctl)), "nested_ml", "y ~ x + (1 | school/class)", family = "gaussian", link = "identity", method = "ML")
