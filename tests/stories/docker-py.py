"""What programs do with docker-py: `docker-py.py SOCKET PART`."""

import io
import sys
import tarfile
import threading
import time

import docker
from docker import errors, types

client = docker.DockerClient(base_url="unix://" + sys.argv[1], timeout=60)
run = client.containers.run
SLEEP = ["sleep", "1000"]


def raises(kind, call, status=None, words=""):
    try:
        call()
    except kind as error:
        assert type(error) is kind, type(error)
        code = getattr(error, "status_code", None)
        assert status is None or code == status, (code, error)
        assert words in str(error), error
        return error
    raise SystemExit(f"no {kind.__name__} came")


def tar(**files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o640
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def part_errors():
    raises(errors.NotFound, lambda: client.containers.get("nobody"), 404, "No such container: nobody")
    raises(errors.ImageNotFound, lambda: client.images.get("nothing"), 404, "No such image: nothing")
    raises(errors.NotFound, lambda: client.networks.get("nowhere"), 404, "network nowhere not found")
    raises(errors.NotFound, lambda: client.volumes.get("nowhat"), 404, "no such volume")
    failed = raises(errors.ContainerError, lambda: run("busybox", ["sh", "-c", "echo why >&2; exit 7"], remove=True))
    assert failed.exit_status == 7 and failed.stderr == b"why\n", (failed.exit_status, failed.stderr)
    lost = lambda: run("busybox", "no-such-program", name="lost", remove=True)
    raises(errors.APIError, lost, 400, "executable file not found")
    # docker-py leaves what it could not start.
    client.containers.get("lost").remove()
    raises(errors.APIError, lambda: run("busybox", "true", mem_limit="1k"), 400, "Minimum memory limit")
    one = run("busybox", SLEEP, detach=True, name="taken")
    raises(errors.APIError, lambda: run("busybox", SLEEP, detach=True, name="taken"), 409, "already in use")
    raises(errors.APIError, one.remove, 409, "stop the container before removal")
    raises(errors.APIError, one.unpause, 409, "not paused")
    raises(errors.APIError, lambda: one.kill("SIGNOTHING"), 400, "nvalid signal")
    raises(errors.NotFound, lambda: one.get_archive("/not/here"), 404, "Could not find the file")
    raises(errors.NotFound, lambda: one.put_archive("/not/here", tar(a=b"")), 404)
    one.remove(force=True)
    raises(errors.NotFound, one.reload, 404)
    raises(errors.NotFound, one.start, 404)
    stopped = client.containers.create("busybox", "true")
    raises(errors.APIError, stopped.kill, 409, "is not running")
    raises(errors.APIError, lambda: stopped.exec_run("true"), 409, "is not running")
    raises(errors.APIError, stopped.pause, 409, "is not running")
    raises(errors.APIError, lambda: client.containers.list(filters={"nonsense": "1"}), 400, "invalid filter")
    stopped.remove()


def part_output():
    both = ["sh", "-c", "echo out; echo err >&2"]
    assert run("busybox", both, remove=True) == b"out\n"
    assert sorted(run("busybox", both, remove=True, stderr=True).split()) == [b"err", b"out"]
    assert run("busybox", both, remove=True, stdout=False, stderr=True) == b"err\n"
    assert run("busybox", "echo tty", tty=True, remove=True) == b"tty\r\n"
    assert list(run("busybox", ["sh", "-c", "echo 1; echo 2"], remove=True, stream=True)) in ([b"1\n", b"2\n"], [b"1\n2\n"])
    slow = run("busybox", ["sh", "-c", "for i in 1 2 3; do echo line $i; sleep 0.1; done; exec sleep 1000"], detach=True)
    lines = slow.logs(stream=True, follow=True)
    got = b""
    while b"line 3\n" not in got:
        got += next(lines)
    assert got == b"line 1\nline 2\nline 3\n", got
    lines.close()
    assert slow.logs(tail=1) == b"line 3\n"
    stamp, text = slow.logs(timestamps=True).splitlines()[0].split(b" ", 1)
    assert text == b"line 1" and stamp.endswith(b"Z"), stamp
    assert slow.logs(since=int(time.time()) + 100) == b""
    assert slow.logs(until=int(time.time()) + 100) == got
    slow.remove(force=True)


def part_processes():
    box = run("busybox", SLEEP, detach=True, environment={"A": "b"}, working_dir="/tmp")
    assert box.exec_run(["sh", "-c", "echo $A; pwd; exit 5"]) == (5, b"b\n/tmp\n")
    assert box.exec_run("id -u", user="user").output == b"1000\n"
    assert box.exec_run(["sh", "-c", "echo $X; pwd"], environment=["X=y"], workdir="/etc").output == b"y\n/etc\n"
    assert box.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True).output == (b"o\n", b"e\n")
    code, stream = box.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True)
    assert code is None and b"".join(stream) == b"1\n2\n"
    assert box.exec_run("tty", tty=True).output.startswith(b"/dev/pts/")
    missing = box.exec_run("nothing-like-it")
    assert missing.exit_code == 127 and b"executable file not found" in missing.output, missing
    _, sock = box.exec_run("cat", stdin=True, socket=True)
    sock._sock.sendall(b"given\n")
    sock._sock.shutdown(1)
    data = b""
    while chunk := sock.read(100):
        data += chunk
    assert data == b"\x01\0\0\0\0\0\0\x06given\n", data
    made = client.api.exec_create(box.id, "sleep 1000")
    client.api.exec_start(made["Id"], detach=True)
    seen = client.api.exec_inspect(made["Id"])
    assert seen["Running"] and seen["ContainerID"] == box.id, seen
    assert [row[-1] for row in box.top()["Processes"]] == ["sleep 1000"] * 2
    first, second = list(zip(range(2), box.stats(stream=True, decode=True)))
    assert first[1]["id"] == box.id and second[1]["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    box.remove(force=True)


def part_archives():
    box = run("busybox", SLEEP, detach=True)
    assert box.put_archive("/tmp", tar(**{"one.txt": b"1\n", "two.txt": b"22\n"}))
    assert box.exec_run("cat /tmp/one.txt /tmp/two.txt").output == b"1\n22\n"
    assert box.exec_run(["stat", "-c", "%a", "/tmp/one.txt"]).output == b"640\n"
    stream, stat = box.get_archive("/tmp/two.txt")
    assert stat["name"] == "two.txt" and stat["size"] == 3, stat
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        assert archive.extractfile("two.txt").read() == b"22\n"
    stream, _ = box.get_archive("/etc", encode_stream=True)
    assert len(b"".join(stream)) > 0
    box.stop(timeout=0)
    assert box.put_archive("/", tar(late=b"x"))
    names = [member["Path"] for member in box.diff()]
    assert {"/late", "/tmp/one.txt"} <= set(names), names
    exported = tarfile.open(fileobj=io.BytesIO(b"".join(box.export())))
    assert exported.extractfile("late").read() == b"x"
    box.remove()


def part_life():
    box = run("busybox", ["sh", "-c", "trap 'exit 3' USR1; while :; do sleep 0.1; done"], detach=True, name="first")
    box.rename("second")
    box.reload()
    assert box.name == "second"
    box.update(mem_limit="64m", memswap_limit="64m", restart_policy={"Name": "no"})
    box.reload()
    assert box.attrs["HostConfig"]["Memory"] == 64 << 20
    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    ended = []
    waiting = threading.Thread(target=lambda: ended.append(box.wait(condition="next-exit")))
    waiting.start()
    time.sleep(0.3)
    box.kill("SIGUSR1")
    waiting.join()
    assert ended == [{"StatusCode": 3}], ended
    assert box.wait() == {"StatusCode": 3}
    box.restart(timeout=0)
    box.reload()
    assert box.status == "running"
    assert box.exec_run("touch /made").exit_code == 0
    image = box.commit("made/by", "py", message="why", author="who", changes=["ENV C=d"])
    assert image.tags == ["made/by:py"] and "C=d" in image.attrs["Config"]["Env"], image.attrs
    assert run(image, "ls /made", remove=True) == b"/made\n"
    raises(errors.APIError, lambda: box.wait(condition="nonsense"), 400)
    box.remove(force=True)
    client.images.remove("made/by:py")
    gone = run("busybox", "true", detach=True, auto_remove=True)
    try:
        assert gone.wait(condition="removed")["StatusCode"] == 0
    except errors.NotFound:
        pass


def part_attach():
    box = client.containers.create("busybox", "cat", stdin_open=True)
    sock = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    sock._sock.sendall(b"hello\n")
    assert sock.read(14) == b"\x01\0\0\0\0\0\0\x06hello\n"
    sock._sock.shutdown(1)
    sock.close()
    box.stop(timeout=0)
    # docker-py drops what came together with the head of the answer, which is up to the kernel.
    assert any(box.attach(logs=True, stream=False) == b"hello\n" for _ in range(100))
    box.remove()


def part_events():
    since = time.time()
    source = client.events(decode=True, since=since, filters={"type": "container", "label": "watched=1"})
    seen = []

    def watch():
        for event in source:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                break

    watching = threading.Thread(target=watch)
    watching.start()
    run("busybox", "true", remove=True)
    run("busybox", "true", remove=True, labels={"watched": "1"})
    watching.join(60)
    assert seen == ["create", "attach", "start", "die", "destroy"] or seen == ["create", "start", "die", "destroy"], seen
    source.close()
    old = list(client.events(decode=True, since=since, until=time.time(), filters={"event": "die"}))
    assert len(old) == 2 and old[1]["Actor"]["Attributes"]["exitCode"] == "0", old


def part_networks():
    net = client.networks.create(
        "py-net",
        labels={"by": "py"},
        ipam=types.IPAMConfig(pool_configs=[types.IPAMPool(subnet="10.211.7.0/24", gateway="10.211.7.1")]),
    )
    assert net.attrs["IPAM"]["Config"][0]["Subnet"] == "10.211.7.0/24"
    raises(errors.APIError, lambda: client.networks.create("py-net", check_duplicate=True), 409, "already exists")
    box = run("busybox", SLEEP, detach=True, name="in-net", network="py-net")
    other = run("busybox", SLEEP, detach=True, name="later")
    net.connect(other, aliases=["nick"], ipv4_address="10.211.7.77")
    net.reload()
    assert {c.name for c in net.containers} == {"in-net", "later"}
    assert b"10.211.7.77" in box.exec_run("nslookup nick").output
    raises(errors.APIError, net.remove, 403, "has active endpoints")
    net.disconnect(other)
    other.reload()
    assert list(other.attrs["NetworkSettings"]["Networks"]) == ["bridge"]
    assert [n.name for n in client.networks.list(filters={"label": "by=py"})] == ["py-net"]
    box.remove(force=True)
    other.remove(force=True)
    net.remove()
    raises(errors.NotFound, net.reload, 404)
    client.networks.create("unused")
    assert client.networks.prune()["NetworksDeleted"] == ["unused"]


def part_volumes():
    volume = client.volumes.create("py-vol", labels={"by": "py"})
    write = ["sh", "-c", "echo kept >/data/file"]
    run("busybox", write, volumes={"py-vol": {"bind": "/data", "mode": "rw"}}, remove=True)
    mounts = [types.Mount("/data", "py-vol", read_only=True)]
    assert run("busybox", "cat /data/file", mounts=mounts, remove=True) == b"kept\n"
    raises(errors.ContainerError, lambda: run("busybox", write, mounts=mounts, remove=True))
    assert [v.name for v in client.volumes.list(filters={"label": "by=py"})] == ["py-vol"]
    user = client.containers.create("busybox", "true", mounts=mounts)
    raises(errors.APIError, volume.remove, 409, "volume is in use")
    user.remove()
    volume.remove()
    tmpfs = types.Mount("/t", None, type="tmpfs", tmpfs_size=1 << 20)
    assert b"1024" in run("busybox", "df -k /t", mounts=[tmpfs], remove=True)
    raises(errors.APIError, lambda: run("busybox", "true", mounts=[types.Mount("/b", "/not/here", type="bind")]), 400)
    client.volumes.create()
    assert len(client.volumes.prune()["VolumesDeleted"]) == 1


def part_images():
    image = client.images.get("busybox")
    assert image.tag("py/box", "v1") and image.tag("py/box", "v2")
    image.reload()
    assert {"py/box:v1", "py/box:v2"} <= set(image.tags)
    assert [i.id for i in client.images.list(name="py/box")] == [image.id]
    saved = b"".join(image.save(named="py/box:v1"))
    client.images.remove("py/box:v1")
    client.images.remove("py/box:v2")
    raises(errors.ImageNotFound, lambda: client.images.remove("py/box:v1"), 404)
    (loaded,) = client.images.load(saved)
    assert loaded.id == image.id and "py/box:v1" in loaded.tags, loaded.tags
    assert client.images.load(saved)[0].history()[0]["Id"] == image.id
    client.images.remove("py/box:v1")
    raises(errors.ImageLoadError, lambda: client.images.load(b"no archive"))
    raises(errors.APIError, lambda: image.tag("Not/Valid"), 400)
    user = client.containers.create("busybox", "true")
    raises(errors.APIError, lambda: client.images.remove(image.id), 409, "is being used by stopped container")
    user.remove()


def part_system():
    assert client.ping() is True
    info = client.info()
    assert info["OSType"] == "linux" and info["Images"] >= 1
    assert client.version()["Components"][0]["Name"] == "Engine"
    usage = client.df()
    assert usage["Images"] and usage["LayersSize"] > 0
    box = run("busybox", "true", detach=True, labels={"prune": "1"})
    box.wait()
    keep = client.containers.create("busybox", "true", labels={"keep": "1"})
    pruned = client.containers.prune(filters={"label": "prune=1"})
    assert pruned["ContainersDeleted"] == [box.id], pruned
    assert [c.id for c in client.containers.list(all=True)] == [keep.id]
    keep.remove()
    assert client.images.prune()["SpaceReclaimed"] == 0


globals()["part_" + sys.argv[2]]()
print(sys.argv[2] + ": done")
