"""``python -m imi_bench`` is ``imi-bench``."""

from imi_bench.cli.app import main

if __name__ == "__main__":
    main()
