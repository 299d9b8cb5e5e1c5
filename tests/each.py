"""A test of many cases that is one test."""
import functools
import inspect


def each(names, cases):
    """As pytest.mark.parametrize, but collected as one test: its cases share the fixtures. Failing cases are named."""
    names = names.replace(' ', '').split(',')
    cases = list(cases)

    def decorate(function):
        parameters = inspect.signature(function).parameters
        fixtures = [parameter for name, parameter in parameters.items() if name not in names]

        @functools.wraps(function)
        def test(subtests, **given):
            if 'subtests' in parameters:
                given['subtests'] = subtests
            for case in cases:
                values = dict(zip(names, case if len(names) > 1 else (case,), strict=True))
                with subtests.test(', '.join(f'{name}={value!r}' for name, value in values.items())[:300]):
                    function(**given, **values)
        shared = inspect.Parameter('subtests', inspect.Parameter.POSITIONAL_OR_KEYWORD)
        test.__signature__ = inspect.Signature([shared, *(p for p in fixtures if p.name != 'subtests')])
        return test
    return decorate
