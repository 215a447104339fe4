# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# Completions as a shell makes them. Needs helpers.bash.

# complete_fish TEXT: what fish would offer for the command line, without the descriptions.
complete_fish() {
	HOME=$T fish --no-config -c 'source $ROOT/completions/evpipe.fish; complete -C $argv[1]' "$1" |
		cut -f 1
}

# complete_zsh TEXT PATTERN: types TEXT and TAB into a zsh and waits until its screen has PATTERN.
complete_zsh() {
	mkdir -p fpath
	cp "$ROOT/completions/evpipe.zsh" fpath/_evpipe
	cp "$ROOT/completions/complete" fpath/complete
	HOME=$T TERM=dumb python3 - "$@" <<-'EOF'
	import os, pty, re, signal, sys

	text, pattern = sys.argv[1:]
	pid, fd = pty.fork()
	if pid == 0:
	    os.execvp("zsh", ["zsh", "-f", "-i"])
	seen = b""

	def wait_for(regex):
	    global seen
	    while not re.search(regex, seen):
	        seen += os.read(fd, 4096)
	    seen = b""

	def give_up(*_):
	    sys.exit(f"not seen: {pattern}\n{seen.decode(errors='replace')}")

	signal.signal(signal.SIGALRM, give_up)
	signal.alarm(120)
	os.write(fd, b"fpath=($HOME/fpath $fpath); autoload -U compinit; compinit -u -D; print rea''dy\r")
	wait_for(rb"\nready")
	os.write(fd, text.encode() + b"\t")
	wait_for(pattern.encode())
	os.kill(pid, signal.SIGKILL)
	os.waitpid(pid, 0)
	EOF
}

# type_bash TEXT: what a bash offers that has TEXT before the cursor, with COMP_WORDS as bash makes them.
type_bash() {
	HOME=$T python3 - "$1" <<-'EOF'
	import os, pty, re, signal, sys

	pid, fd = pty.fork()
	if pid == 0:
	    os.environ.update(TERM="dumb", PS1="", INPUTRC="/dev/null")
	    os.execvp("bash", ["bash", "--norc", "-i"])
	seen = b""

	def wait_for(regex):
	    global seen
	    while not (found := re.search(regex, seen, re.S)):
	        seen += os.read(fd, 4096)
	    seen = b""
	    return found

	signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not seen: {seen!r}"))
	signal.alarm(120)
	os.write(fd, b'''PS1=; bind 'set enable-bracketed-paste off'; source "$ROOT/completions/evpipe.bash"
	wrap() { _evpipe "$@"; printf '<%s>' "${COMPREPLY[@]}"; echo "<>end"; }
	complete -F wrap evpipe kread kwrite evkey rpub
	echo rea""dy\r''')
	wait_for(rb"\nready")
	os.write(fd, sys.argv[1].encode() + b"\t")
	print(*(w.decode() for w in re.findall(rb"<([^<>]+)>", wait_for(rb"<[^\r\n]*<>end")[0])), sep="\n")
	os.kill(pid, signal.SIGKILL)
	os.waitpid(pid, 0)
	EOF
}
