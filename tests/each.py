"""A test of many cases that is one test."""
import functools
import inspect


def each(names, cases):
    """As pytest.mark.parametrize, but collected as one test: its cases share the fixtures. Failing cases are named."""
    names = names.replace(' ', '').split(',')
    rows = [tuple(case) if len(names) > 1 else (case,) for case in cases]

    def decorate(function):
        # Of two such decorators each case of one meets each of the other.
        function, others, their_rows = getattr(function, 'each', (function, [], [()]))
        all_names, all_rows = names + others, [(*row, *theirs) for row in rows for theirs in their_rows]
        parameters = inspect.signature(function).parameters

        @functools.wraps(function)
        def test(subtests, **given):
            if 'subtests' in parameters:
                given['subtests'] = subtests
            for row in all_rows:
                values = dict(zip(all_names, row, strict=True))
                with subtests.test(', '.join(f'{name}={value!r}' for name, value in values.items())[:300]):
                    function(**given, **values)
        fixtures = [value for name, value in parameters.items() if name not in (*all_names, 'subtests')]
        shared = inspect.Parameter('subtests', inspect.Parameter.POSITIONAL_OR_KEYWORD)
        test.__signature__ = inspect.Signature([shared, *fixtures])
        test.each = function, all_names, all_rows
        return test
    return decorate
