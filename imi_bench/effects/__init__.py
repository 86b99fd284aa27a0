"""The paper's questions as mixed-model effects: scale, mode, depth, layer type, difficulty.

Start reading at `imi_bench.effects.analysis`.
"""
