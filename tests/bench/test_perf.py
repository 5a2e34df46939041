"""What perf prints is told by part of the whole."""

from bench.perf import parts

SCRIPT = """\
100
\tffffffff81e32fbe sock_def_readable
\tffffffff8200ec5b tcp_sendmsg
\tffffffff816b98aa ksys_write
\t           f838f __GI___libc_write
\t           11111 CPyDef_answer___Answer____write

100
\tffffffff81ffa941 tcp_recvmsg_locked
\tffffffff816b97aa ksys_read
\t           f838f read

100
\tffffffff81ffa941 ep_poll
\tffffffff816b97aa do_epoll_wait

100
\t           22222 _PyObject_Malloc
\t           33333 CPyDef_peek___read_json
\t           44444 _PyEval_EvalFrameDefault

100
\t           22222 _PyObject_Malloc
\t           44444 CPyDef_upstream___connection___Connection___begin

100
\t           22222 _PyObject_Malloc
\t           44444 CPyDef_answer___Answer___send

100
\t           44444 _PyEval_EvalFrameDefault
\t           33333 CPyDef_peek___read_json

100
\t           55555 __pyx_f_6uvloop_4loop_6Handle__run

100
\t           66666 main

101
\t           44444 _PyEval_EvalFrameDefault
"""


def test_each_sample_is_told_by_whose_its_innermost_frame_is() -> None:
    assert parts(SCRIPT) == {
        "kernel: writing": 1,
        "kernel: reading": 1,
        "kernel: all else": 1,
        "proxy/core": 1,
        "proxy/upstream": 1,
        "proxy/http": 1,
        "interpreted": 1,
        "event loop and parser": 1,
        "all else": 1,
        "threads of ledger and log": 1,
    }
