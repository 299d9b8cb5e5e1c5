"""Few cases for many options: every two values of two options meet, though not every combination of all."""
from itertools import combinations, product


def pairwise(*options):
    """Tuples of one value of each option, in all of which each pair of values of two options occurs."""
    cases = list(product(*(range(len(values)) for values in options)))
    pairs = {case: set(combinations(enumerate(case), 2)) for case in cases}
    missing = set().union(*pairs.values())
    chosen = []
    while missing:
        case = max(cases, key=lambda case: len(pairs[case] & missing))
        missing -= pairs[case]
        chosen.append(tuple(values[i] for values, i in zip(options, case)))
    return chosen
