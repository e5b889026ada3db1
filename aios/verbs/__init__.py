"""What a person may ask and say over the control socket: each verb is one small function of the `House`.

Questions read the world; commands become events through `emit`, like everything else, and who said them stands in the event.
`handler` lists all verbs on one page; the command line's nouns are their users.
"""
