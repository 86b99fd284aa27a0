# Fits the designs that tests/glmm/test_live_designs.py drew: designs.csv (file, formula, kind) to live.json.
suppressMessages(library(lme4))
num <- function(x) ifelse(is.finite(x), sprintf("%.10g", x), "null")
todo <- read.csv("designs.csv")
one <- function(file, formula, kind) {
  d <- read.csv(file); f <- as.formula(formula)
  m <- tryCatch(suppressWarnings(suppressMessages(if (kind %in% c("ML", "REML"))
      lmer(f, d, REML = kind == "REML", control = lmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-8)))
    else glmer(f, d, binomial(kind), control = glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10, optCtrl = list(maxfun = 1e5, rhoend = 1e-8))))), error = function(e) NULL)
  if (is.null(m)) return("null")
  co <- summary(m)$coefficients
  fixed <- paste(sprintf('"%s": {"estimate": %s, "se": %s}', rownames(co), num(co[, 1]), num(co[, 2])), collapse = ", ")
  sprintf('{"n": %d, "logLik": %s, "singular": %s, "fixed": {%s}}', nobs(m), num(as.numeric(logLik(m))), tolower(isSingular(m)), fixed)
}
writeLines(paste0("[", paste(mapply(one, todo$file, todo$formula, todo$kind), collapse = ",\n"), "]"), "live.json")
