"""`watcher help TOPIC`: what is about several commands, in short pages."""

from __future__ import annotations

_EXIT = """\
Exit statuses of all commands.

  0    good: the tree is live, the command succeeded
  1    failed: the tree does not build or does not run
  2    wrong usage: no such command or option, or a wrong value of an option
  3    no watcher is running for the project, it does not answer, or it stopped
  4    paused: nothing is built until `watcher resume`
  5    the tree cannot be read now, so nothing is known of it
  70   `run` ended itself: its event loop was stuck for 30 s
  78   a setting is wrong
  124  the time is up
  130  ended by a signal before it was done, or by a second Ctrl-C
  131  ended by SIGQUIT (Ctrl-\\): the stacks of all threads are printed; 131 is
       what the shell says, programs that wait for it read -3

With --json a failure is a document on standard output too:
  {"outcome": "not-running", "exit_status": 3, "error": "..."}
"""
_SETTINGS = """\
Where settings come from, first one wins.

  command line   watcher run --http.port 9002
  environment    WATCHER_HTTP__PORT=9002 (two underscores between section and name)
  watcher.toml   in the project's folder:  [http]  then  port = 9002
  compose file   what a setting without a value takes from there
  default        `watcher init --all` writes all of them with their meaning

Sections of one service: [service.NAME.deploy] in watcher.toml.
A change of watcher.toml or of the compose file applies as soon as it is saved.
`watcher COMMAND --help-settings` lists every setting.
"""
_FILES = """\
Files of the watcher. None is in the project except those that you write.

  watcher.toml                       settings of a project
  ~/.local/state/watcher/PROJECT/    journal of builds, record of the project,
                                     daemon.log of `watcher up`
  ~/.local/state/watcher/targets/    by these files Prometheus finds all watchers
  $XDG_RUNTIME_DIR/watcher/          lock and address of each running watcher
  ~/.config/systemd/user/watcher-PROJECT.service  of `watcher service install`

XDG_STATE_HOME and XDG_CONFIG_HOME are used where they are set.
"""
_COPIES = """\
Clones and worktrees of one repository at the same time.

Each copy has a watcher of its own; `watcher list` shows their branches. There is
one of each of these on a machine:

  host ports       Publish a range ("9000-9099:9000"): each copy takes a free port
                   and keeps it; `watcher status` names it. With a fixed port the
                   second copy does not start. The status page needs nothing.
  container names  With container_name the first copy has the name; the container
                   of another one is called NAME.REVISION, with a warning. Without
                   container_name each is named after its folder.
  image names      A shared name goes to the copy that builds last. Each watcher
                   runs and prunes its own images whatever the name says.

The .env file of a copy, which git ignores, can choose all of them:

  ports: ["${PORT:-9000}:9000"]      container_name: shop-${COPY:-main}
"""
TOPICS = {"exit-status": _EXIT, "settings": _SETTINGS, "files": _FILES, "copies": _COPIES}


def find_topic(name: str) -> str | None:
    """Return the page of a topic; None if there is none."""
    return TOPICS.get(name)
