#include "user_namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "process.h"

static int join(const char *owner)
{
	int fd = open(owner, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	int result = setns(fd, CLONE_NEWUSER);
	int failure = errno;
	close(fd);
	errno = failure;
	return result;
}

static int enter(bool network, const char *owner)
{
	if (owner && join(owner) < 0)
		return -1;
	return unshare((owner ? 0 : CLONE_NEWUSER) | (network ? CLONE_NEWNET : 0));
}

int user_namespace_main(bool network, const char *owner)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return process_answer_and_stay(enter(network, owner) == 0 ? 0 : errno);
}
