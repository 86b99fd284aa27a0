"""Machine observers answer the 2-AFC interpretability experiment of the IMI dataset.

Start reading at `imi_bench.study`; the tables that travel between the steps are in
`imi_bench.tables`.
"""

__version__ = "0.1.0"
