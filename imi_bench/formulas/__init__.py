"""R's formula language: reading it, expanding it, and making model matrices from tables.

Start reading at `imi_bench.formulas.matrix`. The course of a formula is `tokens` (characters to
words), `parse` (words to a tree of `syntax`), `terms` (R's algebra of ``+ - : * / ^ %in%``),
`evaluate` (a tree on a table, by the functions of `functions` and no others) and `matrix`
(columns with R's labels, and the recipe that makes them again for other rows).
"""
