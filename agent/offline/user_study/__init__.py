"""`stedfast study`: whether people can tell the network's scores from an expert's.

The user study of Robitaille, Durand, Gardner, Gagné, De Koninck, Lavoie-Cardinal, AAAI 2018. A
tester sees an image with two scores in random order, an expert's (the target) and a system's (the
prediction), and picks the better one, calls them equivalent or discards the image. With T picks of
the target, P of the prediction, E answers "equivalent" and Ñ = T + P + E images not discarded:

- confusion C = 1 − |(2P + E) − Ñ| / Ñ; 1: prediction and target cannot be told apart,
- domination D = P / (T + P); 0.5: neither is preferred.

Both are computed for each tester in bins of the target (lower edge included, upper excluded,
except that the last includes 1) and over all bins, then averaged over the testers (mean ± sample
standard deviation).
"""

from agent.offline.user_study.answers import AnswerRow, read_answers
from agent.offline.user_study.evaluation import Study, as_json, evaluate
from agent.offline.user_study.printing import print_study
from agent.offline.user_study.random_system import RATER_SD, Simulation, simulate_random, tolerance
from agent.offline.user_study.tables import (
    Figure,
    System,
    TargetBin,
    confusion,
    domination,
    tabulate,
)

__all__ = [
    "RATER_SD",
    "AnswerRow",
    "Figure",
    "Simulation",
    "Study",
    "System",
    "TargetBin",
    "as_json",
    "confusion",
    "domination",
    "evaluate",
    "print_study",
    "read_answers",
    "simulate_random",
    "tabulate",
    "tolerance",
]
