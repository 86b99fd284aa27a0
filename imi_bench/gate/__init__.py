"""The verdict on a new observer, its outputs, and the pytest plug-in."""

from imi_bench.rooms import callable_room

callable_room(__name__, "verdict:gate")
