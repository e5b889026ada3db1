"""`aios completion bash|zsh|fish`: a script that completes commands and options, made from the parser, so it is never stale."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from aios.cli import exits
from aios.cli.terminal import Terminal

SHELLS = ("bash", "zsh", "fish")

_EXAMPLES = """examples:
  source <(aios completion bash)                              this shell
  aios completion bash > /etc/bash_completion.d/aios          every shell
  aios completion zsh > "${fpath[1]}/_aios"
  aios completion fish > ~/.config/fish/completions/aios.fish"""


class Word(NamedTuple):
    """What may follow these words: a command or an option, and its help."""

    after: tuple[str, ...]
    word: str
    help: str


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="your shell")
    parser.epilog = _EXAMPLES
    parser.set_defaults(action=completion)


def completion(args: argparse.Namespace, terminal: Terminal) -> int:
    from aios.cli.main import build_parser  # main knows the nouns, and this is one of them

    terminal.out.write(script(args.shell, build_parser()))
    return exits.OK


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    words = list(words_of(parser, ()))
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](words)


def words_of(parser: argparse.ArgumentParser, after: tuple[str, ...]) -> Iterator[Word]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, sub in action.choices.items():
                yield Word(after, name, helps.get(name, ""))
                yield from words_of(sub, (*after, name))
        elif action.option_strings:
            yield Word(after, action.option_strings[-1], action.help or "")
            for choice in action.choices or ():
                yield Word((*after, action.option_strings[-1]), str(choice), "")
        else:
            for choice in action.choices or ():
                yield Word(after, str(choice), "")


def _by_path(words: list[Word]) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for word in words:
        table.setdefault(" ".join(word.after), []).append(word.word)
    return table


def _bash(words: list[Word]) -> str:
    cases = "\n".join(f"    {_quoted(path)}) words={_quoted(' '.join(found))} ;;" for path, found in _by_path(words).items())
    return f"""# Completion of aios for bash. Made by `aios completion bash`.
_aios() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" path="" words="" i word
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${{COMP_WORDS[i]}}"
    case "$word" in -*) continue ;; esac
    case " $(_aios_words "$path") " in *" $word "*) path="${{path:+$path }}$word" ;; esac
  done
  case "$previous" in --data|--settings) COMPREPLY=($(compgen -f -- "$current")); return ;; esac
  words="$(_aios_words "${{path:+$path }}$previous")"
  case "$previous" in -*) ;; *) words="" ;; esac
  [ -n "$words" ] || words="$(_aios_words "$path")"
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
_aios_words() {{
  local words=""
  case "$1" in
{cases}
  esac
  printf '%s' "$words"
}}
complete -F _aios aios
"""


def _zsh(words: list[Word]) -> str:
    cases = "\n".join(
        f"    {_quoted(path)}) words=({' '.join(map(_quoted, found))}) ;;" for path, found in _by_path(words).items()
    )
    return f"""#compdef aios
# Completion of aios for zsh. Made by `aios completion zsh`.
_aios_words() {{
  known=()
  case "$1" in
{cases}
  esac
}}
_aios() {{
  local -a typed known
  local path_="" word
  typed=("${{(@)words[2,CURRENT-1]}}")
  for word in $typed; do
    [[ $word == -* ]] && continue
    _aios_words "$path_"
    (( ${{known[(Ie)$word]}} )) && path_="${{path_:+$path_ }}$word"
  done
  case "${{typed[-1]}}" in
    --data|--settings) _files; return ;;
    -*) _aios_words "${{path_:+$path_ }}${{typed[-1]}}"; (( $#known )) && {{ compadd -a known; return }} ;;
  esac
  _aios_words "$path_"
  compadd -a known
}}
if [ "$funcstack[1]" = "_aios" ]; then _aios "$@"; else compdef _aios aios; fi
"""


def _fish(words: list[Word]) -> str:
    lines = ["# Completion of aios for fish. Made by `aios completion fish`.", "complete -c aios -f"]
    for word in words:
        if word.after and word.after[-1].startswith("-"):
            condition, option = _fish_after(word.after[:-1]), word.after[-1].lstrip("-")
            lines.append(f"complete -c aios -n {_quoted(condition)} -l {option} -xa {_quoted(word.word)}")
            continue
        target = f"-l {word.word[2:]}" if word.word.startswith("--") else f"-a {_quoted(word.word)}"
        condition = _fish_after(word.after)
        lines.append(f"complete -c aios -n {_quoted(condition)} {target} -d {_quoted(word.help)}")
    return "\n".join(lines) + "\n"


def _fish_after(after: tuple[str, ...]) -> str:
    if not after:
        return "__fish_use_subcommand"
    return "; and ".join(f"__fish_seen_subcommand_from {word}" for word in after)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
