"""The pump: take an event from the queue, match, decide (`pump`, `decide`); start runs and obey their commands (`runs`)."""
