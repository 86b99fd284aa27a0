"""Can a model learn to judge units from K solved trials in its prompt? The study and its checks."""

from imi_bench.rooms import callable_room

callable_room(__name__, "study:fewshot")
