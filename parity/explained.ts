/** Differences that are meant, or cannot be otherwise. */
export interface Explained {
  /** Found in the line. */
  line: RegExp
  why: string
}

export const explained: readonly Explained[] = [
  {
    line: /busybox (nothere|\/etc\/passwd|\/etc|pwd)$/,
    why: 'The words around the reason name no shim and no runtime: there is no shim, and whichever runtime runs says the same.',
  },
  {
    line: /--cpus (1000|-1) |--cpu-shares -1 |--group-add nothere|--isolation hyperv|--network container:|--expose 80\/nothere|--ip 172|network create --subnet nothere/,
    why: 'The words are those of newer dockerds.',
  },
  {
    line: /-h toolong|--gpus all|--log-opt max-size=x|--tmpfs (\/t:nothere|t) /,
    why: 'Refused at create, where dockerd makes a container that never starts.',
  },
  {
    line: /--dns 1\.1\.1\.1|--add-host a:1/,
    why: "The files that are made for a container say who made them, and have newer dockerds' names of IPv6.",
  },
  {
    line: /docker rm box$|docker pause box; docker pause box|docker rename (toy toy|aa bb)|docker exec -u nothere box|--filter status=created/,
    why: 'The words are those of newer dockerds, or name what there is.',
  },
  {
    line: /subnet 10\.99\.0\.0\/25|docker network disconnect net box|--ip 10\.9[67]/,
    why: 'The words are those of newer dockerds, and name the address or the container.',
  },
  { line: /docker info --format '\{\{\.Driver/, why: 'The runtime is whichever works here.' },
  { line: /docker login/, why: 'Neither reaches the registry, and each says so in its own words.' },
  { line: /-p 53\/udp/, why: 'Ports are published for IPv4.' },
  {
    line: /\{\{json \.HostConfig\}\}/,
    why: 'The runtime is whichever works here, and more of /proc is masked, as with newer dockerds.',
  },
  {
    line: /docker inspect box \| grep/,
    why: 'Newer fields: the priority of gateways, and what Berth tells beside.',
  },
  {
    line: /docker diff box$|\{\{json \.Mounts\}\}|docker logs --tail 1 box|\| head -1$/,
    why: 'Orders and broken pipes that change from one run of dockerd to the next.',
  },
  { line: /docker top box -o/, why: 'Process ids.' },
  {
    line: /docker events --since 1m/,
    why: 'Both tell all that happened in the last minute, lines before this one included.',
  },
  { line: /--log-driver nothere/, why: 'The words are those of newer dockerds, which name the driver.' },
  { line: /--init /, why: 'The peer has no docker-init installed.' },
  {
    line: /--platform linux\/arm64|search ''|docker push nothere|nosuchimage:5/,
    why: 'Neither reaches a registry, and each says so in its own words.',
  },
  {
    line: /--filter (status=nothere|nothere=x --since)/,
    why: 'A value or a filter that there is not is refused with what there is; dockerd 26 ignores unknown filters of events.',
  },
  {
    line: /load -i \/etc\/passwd|import \/etc\/passwd/,
    why: 'The words of what is no archive are not those of Go.',
  },
  { line: /docker save /, why: 'The name is shown with the tag that was looked for.' },
  {
    line: /network create --driver nothere/,
    why: 'The words are those of newer dockerds, and name the drivers that there are.',
  },
]
