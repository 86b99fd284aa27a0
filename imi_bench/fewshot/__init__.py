"""Can a model learn to judge units from K solved trials in its prompt? The study and its checks."""
