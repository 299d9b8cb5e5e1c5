def load():
    raise ImportError('not built')
