"""What sees the machine: each sensor emits edges, and at start (and after blind time) levels. None decides, none acts."""
