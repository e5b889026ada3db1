"""What to do when: playbooks as values, how they match, when they may run, and how a run of one goes on. All pure."""
