"""The imperative shell: takes commands, asks the rules, appends, makes acknowledged events true."""
