# lme4's log-likelihoods of 500 data sets with little or no variance between groups: null_sets.csv.
# Run in this folder: Rscript null_sets.R [number of sets] [file]. All values are simulated here, by a
# generator that tests/support/null_sets.py has too (Park and Miller's minimal standard).
suppressMessages(library(lme4))
args <- commandArgs(TRUE)
count <- if (length(args)) as.integer(args[1]) else 500
out <- if (length(args) > 1) args[2] else "null_sets.csv"
state <- 1
unif <- function(n) { u <- numeric(n); for (i in seq_len(n)) { state <<- (16807 * state) %% 2147483647; u[i] <- state / 2147483647 }; u }
norm <- function(n) qnorm(unif(n))
bars <- c("(1|g)", "(0+x|g)", "(1+x|g)", "(1+x||g)", "(1|g)+(1|h)", "(1+x|g)+(1|h)", "(1|g/k)", "(1+x+z|g)")
kinds <- c("gaussian.ML", "gaussian.REML", "logit", "probit", "counts")
make <- function(number) {
  state <<- (7919 * number) %% 2147483647
  kind <- kinds[(number - 1) %% 5 + 1]; bar <- bars[((number - 1) %/% 5) %% 8 + 1]
  size <- unif(4); groups <- 6 + floor(size[1] * 20); each <- 8 + floor(size[2] * 8); n <- groups * each
  sd <- if (size[3] < 0.6) 0 else 0.25 * size[4]
  d <- data.frame(g = rep(seq_len(groups), each = each), h = rep(seq_len(each), groups))
  d$k <- (d$h - 1) %/% 4 + 1
  d$x <- round(norm(n), 3); d$z <- round(norm(n), 3)
  eta <- 0.2 + 0.3 * d$x + sd * norm(groups)[d$g]
  if (startsWith(kind, "gaussian")) d$y <- round(eta + norm(n), 3)
  else if (kind == "counts") { d$t <- 1 + floor(unif(n) * 6); d$y <- qbinom(unif(n), d$t, plogis(eta)) }
  else d$y <- as.integer(unif(n) < plogis(eta))
  left <- if (kind == "counts") "cbind(y, t - y)" else "y"
  list(data = d, kind = kind, formula = paste(left, "~ x +", bar))
}
fit <- function(s) {
  f <- as.formula(s$formula)
  if (startsWith(s$kind, "gaussian")) one <- function(optimizer) lmer(f, s$data, REML = s$kind == "gaussian.REML",
      control = lmerControl(optimizer = optimizer, optCtrl = list(maxfun = 1e5)))
  else one <- function(optimizer) glmer(f, s$data, binomial(if (s$kind == "probit") "probit" else "logit"),
      control = glmerControl(optimizer = optimizer, tolPwrss = 1e-10, optCtrl = list(maxfun = 1e5)))
  logs <- sapply(c("bobyqa", "Nelder_Mead"), function(o) tryCatch(suppressWarnings(suppressMessages(as.numeric(logLik(one(o))))), error = function(e) NA))
  if (all(is.na(logs))) NA else max(logs, na.rm = TRUE)
}
rows <- vapply(seq_len(count), function(number) { s <- make(number); sprintf("%d,%s,\"%s\",%d,%.4f,%.8f", number, s$kind, s$formula, nrow(s$data), sum(s$data$y), fit(s)) }, "")
writeLines(c("number,kind,formula,rows,total,logLik", rows), out)
