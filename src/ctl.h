/* headgate ctl: the client of the control socket.  See headgate-ctl(1). */
#ifndef HEADGATE_CTL_H
#define HEADGATE_CTL_H

/* argv[0] is "ctl".  Returns the exit code: 0 done, 1 not, 2 a wrong command line. */
int ctl(int argc, char **argv);

#endif
