# Makes the table and R's model matrices in this folder. Run in this folder: Rscript generate.R
# All values are simulated here.
suppressMessages(library(splines))
center <- function(x) x - mean(x)
ns <- splines::ns; bs <- splines::bs
set.seed(20261125)
n <- 24
d <- data.frame(
  y = round(rnorm(n), 3), x = round(rnorm(n), 3), z = round(runif(n, 0.5, 3), 3), k = rep(c(1, 2, 4, 7), 6),
  m = rep(c("nat", "syn"), 12), f = sample(rep(c("a", "b", "c"), 8)), h = sample(rep(c("u", "v", "w", "z"), 6)),
  b = rep(c(TRUE, FALSE, FALSE), 8), check.names = FALSE)
d[["my x"]] <- round(rnorm(n), 3); d[["my f"]] <- sample(rep(c("p", "q"), 12)); d[["_u"]] <- round(rnorm(n), 3)
d[["a|b"]] <- round(rnorm(n), 3); d[["True"]] <- round(rnorm(n), 3); d[["Intercept"]] <- round(rnorm(n), 3)
write.csv(d, "table.csv", row.names = FALSE)
new <- data.frame(x = c(0.1, 0.5, -0.25), z = c(1, 2, 2.5), k = c(1, 7, 4), m = c("syn", "syn", "nat"),
  f = c("c", "a", "a"), h = c("w", "w", "u"), b = c(TRUE, TRUE, TRUE), check.names = FALSE)
write.csv(new, "new.csv", row.names = FALSE)
formulas <- c(
  "1", "0", "-1", "x", "x + z", "0 + x", "x - 1", "x + 0 + 1", "m", "0 + m", "-1 + m + f", "f - 1", "0 + x + m",
  "m + f", "m * x", "m:x", "x:m", "m + m:x", "x + x:m", "0 + m:x", "m/x", "m/f", "x/m", "(m + f)/x", "m/(x + z)",
  "m/x/z", "m * f", "m:f", "m + m:f", "f + m:f", "x + m:f", "0 + m:f", "0 + m * f", "m * f * h", "m * f * x",
  "m * f - m", "m * f - m:f", "f * x - x", "m * x * z - m:x:z", "(m + f + x)^2", "(m + f + x)^3", "(m + f + h)^2 - m:f",
  "(x + z)^2", "(m * x)^2", "m %in% f", "f + m %in% f", "(m + x) %in% f", "x + m:x:f", "m:f:h", "m + f + m:f:h",
  "z + x + z:x", "x:z + x", "x + x", "m + x + m", "(x)", "((x + m))", "(m + f) * x", "x + (m + f)", "x * (m - 1)",
  "log(z)", "log(z, 2)", "log(z, base = 10)", "log2(z) + log10(z) + log1p(z)", "exp(x) + expm1(x)", "sqrt(z) + abs(x)",
  "I(x^2)", "I(x^2) + x", "I(x > 0)", "x > 0", "(x > 0) * m", "m:(x > 0)", "I(x > 0 & z > 1)", "I(x > 0 | z > 2)", "I(!b)", "!b",
  "b", "b * x", "0 + b", "b:x", "I(x/2)", "I(2 * x + z/3 - 1)", "I(-x)", "I(x * -1)", "I((x + z) * 2)", "I(x^2 + 1e5 * x)",
  "I(100000 * x)", "I(123456 * x)", "I(0.0001 * x)", "I(0.1 * x)", "I(x%%1)", "I(k%/%2)", "I(2^k)", "I(k^3)", "I(x^-1)", "I(-x^2)", "I(1/(1 + z))",
  "I(m == 'syn')", "I(f != 'a')", "m == 'syn'", "I(f %in% c('a', 'b'))", "I(k * (m == 'syn'))", "I(x + z + k)", "I(x - z - k)",
  "factor(k)", "factor(k) * x", "factor(f, levels = c('c', 'a', 'b'))", "factor(k, labels = c('one', 'two', 'four', 'seven'))",
  "ordered(f)", "ordered(k)", "ordered(k) * m", "m:ordered(f)", "0 + ordered(f)", "factor(h, ordered = TRUE)", "ordered(f, levels = c('b', 'c', 'a'))",
  "C(factor(f), sum)", "C(factor(f), contr.sum) * m", "C(factor(h), helmert)", "C(factor(h), contr.poly)", "0 + C(factor(f), sum)",
  "relevel(factor(f), ref = 'b')", "relevel(factor(f), 'c') * x",
  "poly(x, 1)", "poly(x, 2)", "poly(x, 3)", "poly(x, 2, raw = TRUE)", "poly(x, degree = 2)", "poly(x, 2) * m", "poly(x, 2):f", "poly(x, 2) + poly(z, 2)",
  "poly(k, 3)", "scale(x)", "scale(x) * scale(z)", "scale(x, scale = FALSE)", "scale(x, center = FALSE)", "center(x)", "I(scale(x)^2)",
  "bs(x)", "bs(x, df = 5)", "bs(x, 4)", "bs(x, knots = c(-0.5, 0.5))", "bs(x, degree = 2, df = 4)", "bs(x, df = 5, intercept = TRUE)",
  "ns(x, 1)", "ns(x, 2)", "ns(x, df = 3)", "ns(x, knots = 0)", "ns(x, 3) * m", "ns(x, df = 4, intercept = TRUE)", "ns(z, 2, Boundary.knots = c(0, 4))",
  "`my x`", "`my f`", "`my f` * `my x`", "log(`my x`^2)", "I(`my x` + x)", "`_u`", "`_u` * m", "`a|b`", "I(`a|b` > 0)", "True", "True * m", "Intercept", "Intercept + m",
  "0 + Intercept", "plogis(x) + pnorm(x)", "pmin(x, z)", "sign(x) + floor(z) + ceiling(z)", "x + offset(z)", "offset(log(z)) + m + offset(x)", "m + I(pi * x)")
esc <- function(s) gsub('"', '\\\\"', gsub("\\\\", "\\\\\\\\", s))
num <- function(x) paste0("[", paste(sprintf("%.12g", x), collapse = ","), "]")
quoted <- function(x) if (length(x)) paste0('"', esc(x), '"', collapse = ", ") else ""
one <- function(f) {
  form <- as.formula(paste("y ~", f)); mf <- model.frame(form, d); mm <- model.matrix(form, mf); off <- model.offset(mf)
  cols <- paste(vapply(seq_len(ncol(mm)), function(j) num(mm[, j]), ""), collapse = ",\n   ")
  needs <- all.vars(form[[3]])
  made <- "null"
  if (all(needs %in% c(names(new), "pi")) && length(needs) && !grepl("I\\(scale|center\\(", f)) {
    made <- tryCatch({ # R itself cannot make every column again
      t <- delete.response(terms(mf)); nm <- model.frame(t, new, xlev = .getXlevels(t, mf)); nn <- model.matrix(t, nm)
      if (identical(colnames(nn), colnames(mm)) && !anyNA(nn)) sprintf("[%s]", paste(vapply(seq_len(ncol(nn)), function(j) num(nn[, j]), ""), collapse = ",\n   ")) else "null"
    }, error = function(e) "null")
  }
  sprintf('{"formula": "%s", "names": [%s], "labels": [%s],\n "offset": %s,\n "columns": [%s],\n "new": %s}', esc(f),
    quoted(colnames(mm)), quoted(attr(terms(form), "term.labels")),
    if (is.null(off)) "null" else num(off), cols, made)
}
text <- vapply(formulas, function(f) { r <- suppressWarnings(one(f)); if (length(r) == 0 || is.na(r)) stop(f); r }, "")
writeLines(paste0("[", paste(text, collapse = ",\n"), "]"), "matrices.json")
