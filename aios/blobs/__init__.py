"""Content-addressed bytes: evidence, playbook texts, snapshots, last-good copies."""
