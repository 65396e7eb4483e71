"""The commands of the command line, by what they are for. Nothing here imports torch before a command needs it."""
