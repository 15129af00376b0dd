def test_a_freed_block_is_given_again(run_python):
    """Two allocations of 100 MB after each other lie at the same place and cost no new pages the second time."""
    result = run_python(
        "import ctypes, resource, sys\n"
        "from headsup_cli.runtime.memory import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "size = 100 << 20\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    block = ctypes.create_string_buffer(size)\n"
        "    ctypes.memset(block, 1, size)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "first, second = faults(), faults()\n"
        "print(sys.platform, first, second)\n"
    )
    platform, first, second = result.stdout.split()
    if platform == "linux":
        assert int(first) > 20_000 or int(first) > 20, result.stdout  # 4 kB pages, or huge ones
        assert int(second) < 0.1 * int(first), result.stdout
