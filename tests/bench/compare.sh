#!/bin/sh
# Compares headgate with nginx, HAProxy, h2o and lighttpd: `compare.sh --help`.
#
# Installs who is missing from the distribution, where it may, and hands over
# to compare/compare.py.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}

command -v "$python" >/dev/null || {
	echo "compare.sh: python3 is missing: apt install python3" >&2
	exit 1
}

install=yes
peers=nginx,haproxy,h2o,lighttpd
load=
previous=
for arg; do
	case $arg in
	-h | --help | --no-install | --table | --table=*) install=no ;;
	--load=wrk) load=wrk ;;
	--peers=*) peers=${arg#--peers=} ;;
	esac
	case $previous in
	--peers) peers=$arg ;;
	--load) load=$arg ;;
	esac
	previous=$arg
done

# Packages start their service when installed; here nobody asked for that.
install_packages() {
	[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || {
		echo "compare.sh: missing: $*; install them, or they are left out" >&2
		return 0
	}
	echo "compare.sh: installing $*" >&2
	guard=/usr/sbin/policy-rc.d
	own_guard=no
	[ -e "$guard" ] || {
		printf '#!/bin/sh\nexit 101\n' >"$guard"
		chmod 755 "$guard"
		own_guard=yes
	}
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive \
		apt-get install -yq --no-install-recommends "$@"; } >/dev/null ||
		echo "compare.sh: they could not all be installed" >&2
	[ $own_guard = no ] || rm -f "$guard"
}

if [ $install = yes ]; then
	# What is wrong with the arguments is said before anything is installed for them.
	PYTHONDONTWRITEBYTECODE=1 "$python" "$here/compare/compare.py" --check "$@"
	missing=
	for name in $load h2load openssl $(echo "$peers" | tr , ' '); do
		case $name in
		h2load)
			command -v h2load >/dev/null || missing="$missing nghttp2-client"
			;;
		wrk | openssl | nginx | haproxy | h2o | lighttpd)
			PATH=$PATH:/usr/sbin command -v "$name" >/dev/null || missing="$missing $name"
			;;
		esac
	done
	# shellcheck disable=SC2086 # words are packages
	[ -z "$missing" ] || install_packages $missing
fi

PYTHONDONTWRITEBYTECODE=1 exec "$python" "$here/compare/compare.py" "$@"
