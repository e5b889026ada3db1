"""The memory: the journal's writer and readers, the inbox, checkpoints, and the lock that keeps a second daemon out.

Everything here is plain synchronous code over the `Files` port; `thread` alone knows threads and the event loop.
"""
