"""The paper's questions as mixed-model effects: scale, mode, depth, layer type, difficulty.

Start reading at `imi_bench.effects.analysis`.
"""

from imi_bench.rooms import callable_room

callable_room(__name__, "study:effects")
