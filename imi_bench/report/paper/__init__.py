"""The paper of the experiment, figure by figure: ``imi.report.paper("FILE", out="paper")``."""

from imi_bench.rooms import callable_room

callable_room(__name__, "page:paper")
