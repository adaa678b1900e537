"""The hub service (``hubledger serve``): what others read, and what the hub writes, over HTTP (architecture section 11).

``routes`` is the one table of everything that can be asked: it drives ``app``, which answers, ``openapi``, which describes,
and the tests. Names of strangers are in the query, never in a path: proxies decode and refuse paths as they like.
"""
