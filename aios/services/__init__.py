"""Services and agents of this machine, seen and acted upon: `managed` (those of the settings) and `systemd` (over D-Bus).

The daemon holds the watching side (`both.AllServices`), skills' bodies the acting side (`both.AllActs`, in a launcher).
"""
