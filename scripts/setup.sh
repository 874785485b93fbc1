# Sourced by ./run and ./test from the project's folder: what both need of the machine. Says in one line what is missing.

say() { printf '\033[1m%s\033[0m\n' "berth: $*" >&2; }
die() { echo "berth: $*" >&2; exit 1; }

check_machine() {
	[ "$(id -u)" = 0 ] || die "root is needed: run it with sudo"
	command -v apt-get >/dev/null || die "this needs Debian 12 or 13 (apt-get was not found)"
	kernel=$(uname -r)
	major=${kernel%%.*}
	rest=${kernel#*.}
	minor=${rest%%[.-]*}
	[ "$major" -gt 5 ] || { [ "$major" -eq 5 ] && [ "$minor" -ge 10 ]; } || die "Linux $kernel is too old: 5.10 or later is needed"
	grep -qw overlay /proc/filesystems || modprobe overlay 2>/dev/null || true
	grep -qw overlay /proc/filesystems || die "this kernel has no overlayfs: load the module 'overlay'"
}

# Installs the Debian packages of its arguments that are missing.
need_packages() {
	missing=
	for package in "$@"; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
	done
	[ -n "$missing" ] || return 0
	say "installing Debian packages:$missing"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2086
	apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>"$log" ||
		{ apt-get -qq update >/dev/null 2>"$log" && apt-get -qq install -y --no-install-recommends $missing >/dev/null 2>"$log"; } ||
		die "Debian packages cannot be installed ($missing): check the package source in /etc/apt: $(tail -1 "$log")"
}

# What loads the profile that containers have, where the kernel has AppArmor on.
need_apparmor() {
	[ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" != Y ] || need_packages apparmor
}

need_npm() {
	command -v npm >/dev/null || need_packages nodejs npm
}

# npm dependencies; $1 is `production` or `all`.
need_modules() {
	stamp=node_modules/.installed-$1
	[ -f "$stamp" ] && [ ! package-lock.json -nt "$stamp" ] && return 0
	[ "$1" = production ] && [ -f node_modules/.installed-all ] && [ ! package-lock.json -nt node_modules/.installed-all ] && return 0
	need_npm
	say "installing the pinned Node and npm dependencies"
	omit=
	[ "$1" = all ] || omit=--omit=dev
	npm ci $omit --ignore-scripts --no-audit --no-fund --loglevel=error >"$log" 2>&1 ||
		die "npm dependencies cannot be installed: check the npm registry setting: $(grep -m1 'npm error' "$log")"
	touch "$stamp"
}

need_monitor() {
	command -v musl-gcc >/dev/null || need_packages musl-tools
	# The compiler only recommends its assembler and linker.
	command -v ld >/dev/null || need_packages binutils
	make -s -C monitor >"$log" 2>&1 || die "the monitor cannot be compiled: $(grep -m1 error "$log")"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
