use super::*;

/// What the kernel would answer: the few instructions that are used, run.
fn run(call: i64, architecture: u32, arguments: [u64; 3]) -> u32 {
    run_on(&Filter::for_tasks().unwrap(), call, architecture, arguments)
}

fn run_on(Filter(program): &Filter, call: i64, architecture: u32, arguments: [u64; 3]) -> u32 {
    let mut data = [0_u8; 64];
    data[..4].copy_from_slice(&(call as u32).to_ne_bytes());
    data[4..8].copy_from_slice(&architecture.to_ne_bytes());
    for (at, argument) in arguments.into_iter().enumerate() {
        data[16 + 8 * at..24 + 8 * at].copy_from_slice(&argument.to_ne_bytes());
    }
    let (mut at, mut loaded, mut steps) = (0, 0, 0);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        steps += 1;
        assert!(steps < 30, "call {call} takes {steps} steps");
        let code = u32::from(code);
        let is_so = match code & 0xf0 {
            _ if code & 7 == libc::BPF_RET => return k,
            _ if code & 7 == libc::BPF_LD => {
                let bytes = data[k as usize..].first_chunk().unwrap();
                loaded = u32::from_ne_bytes(*bytes);
                continue;
            }
            libc::BPF_AND if code & 7 == libc::BPF_ALU => {
                loaded &= k;
                continue;
            }
            libc::BPF_JEQ => loaded == k,
            libc::BPF_JGE => loaded >= k,
            libc::BPF_JSET => loaded & k != 0,
            _ => panic!("instruction {code:#x}"),
        };
        at += usize::from(if is_so { jt } else { jf });
    }
}

fn call(number: i64, arguments: [u64; 3]) -> Result<(), i32> {
    match run(number, ARCHITECTURE.unwrap(), arguments) {
        libc::SECCOMP_RET_ALLOW => Ok(()),
        action if action & 0xffff_0000 == libc::SECCOMP_RET_ERRNO => Err((action & 0xffff) as i32),
        action => panic!("{action:#x}"),
    }
}

#[test]
fn every_call_has_the_answer_that_its_list_says() {
    let allowed: Vec<i64> = ALLOWED.iter().copied().chain([ALLOWED_HERE]).flatten().copied().collect();
    for number in 0..=NEWEST {
        let is_special = SPECIAL.iter().find(|(special, _)| *special == number);
        match is_special {
            Some((_, Action::Answer(errno))) => assert_eq!(call(number, [0; 3]), Err(*errno), "{number}"),
            Some(_) => {}
            None if allowed.contains(&number) => assert_eq!(call(number, [u64::MAX; 3]), Ok(()), "{number}"),
            None => assert_eq!(call(number, [0; 3]), Err(libc::EPERM), "{number}"),
        }
    }
    for unknown in [NEWEST + 1, 1000, 0x3fff_ffff] {
        assert_eq!(call(unknown, [0; 3]), Err(libc::ENOSYS));
    }
    let mut once = [&allowed[..], &SPECIAL.iter().map(|(number, _)| *number).collect::<Vec<_>>()].concat();
    let all = once.len();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), all, "a call is listed twice");
}

#[test]
fn what_is_dangerous_is_refused() {
    let refused = [
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_kcmp,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_open_tree,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_mount_setattr,
        libc::SYS_open_by_handle_at,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_swapon,
        libc::SYS_settimeofday,
        libc::SYS_clock_settime,
        libc::SYS_adjtimex,
        libc::SYS_sethostname,
        libc::SYS_syslog,
        libc::SYS_quotactl,
        libc::SYS_acct,
        libc::SYS_fanotify_init,
    ];
    for number in refused {
        assert_eq!(call(number, [0; 3]), Err(libc::EPERM), "{number}");
    }
    for number in [libc::SYS_keyctl, libc::SYS_io_uring_setup, libc::SYS_userfaultfd, libc::SYS_clone3] {
        assert_eq!(call(number, [0; 3]), Err(libc::ENOSYS), "{number}");
    }
}

#[test]
fn namespaces_are_refused_and_threads_are_not() {
    let thread =
        libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    let fork = libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    let of = |flags: i32| [u64::from(flags.cast_unsigned()), 0, 0];
    for flags in [thread, fork, libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD] {
        assert_eq!(call(libc::SYS_clone, of(flags)), Ok(()));
    }
    assert_eq!(call(libc::SYS_unshare, of(libc::CLONE_FS)), Ok(()));
    let all = [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
    ];
    for one in all {
        assert_eq!(call(libc::SYS_clone, of(fork | one)), Err(libc::EPERM));
        assert_eq!(call(libc::SYS_unshare, of(one)), Err(libc::EPERM));
    }
}

#[test]
fn sockets_are_local_or_of_the_internet() {
    let socket = |family: i32, protocol: i32| {
        let arguments = [family as u64, libc::SOCK_STREAM as u64, protocol as u64];
        call(libc::SYS_socket, arguments)
    };
    for (family, protocol) in [
        (libc::AF_UNIX, 0),
        (libc::AF_INET, 0),
        (libc::AF_INET6, 0),
        (libc::AF_INET, libc::IPPROTO_TCP),
        (libc::AF_INET6, libc::IPPROTO_UDP),
        (libc::AF_INET, libc::IPPROTO_ICMP),
        (libc::AF_INET6, libc::IPPROTO_ICMPV6),
        (libc::AF_INET, 262),
        (libc::AF_NETLINK, libc::NETLINK_ROUTE),
    ] {
        assert_eq!(socket(family, protocol), Ok(()), "{family} {protocol}");
    }
    for protocol in [libc::IPPROTO_SCTP, libc::IPPROTO_DCCP, libc::IPPROTO_UDPLITE, libc::IPPROTO_RAW] {
        assert_eq!(socket(libc::AF_INET, protocol), Err(libc::EPROTONOSUPPORT));
        assert_eq!(socket(libc::AF_INET6, protocol), Err(libc::EPROTONOSUPPORT));
    }
    assert_eq!(socket(libc::AF_NETLINK, libc::NETLINK_NETFILTER), Err(libc::EPROTONOSUPPORT));
    // With a protocol of 0 the type decides which it is, and a module may be loaded for it.
    let of_type = |kind: i32| call(libc::SYS_socket, [libc::AF_INET as u64, kind as u64, 0]);
    for usual in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC] {
        assert_eq!(of_type(usual), Ok(()), "{usual}");
    }
    for odd in [libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET, libc::SOCK_DCCP] {
        assert_eq!(of_type(odd | libc::SOCK_CLOEXEC), Err(libc::EPERM), "{odd}");
    }
    for family in [libc::AF_VSOCK, libc::AF_ALG, libc::AF_PACKET, libc::AF_TIPC, libc::AF_BLUETOOTH] {
        assert_eq!(socket(family, 0), Err(libc::EAFNOSUPPORT), "{family}");
    }
    assert_eq!(call(libc::SYS_socketpair, [libc::AF_UNIX as u64, 0, 0]), Ok(()));
    assert_eq!(call(libc::SYS_socketpair, [libc::AF_TIPC as u64, 0, 0]), Err(libc::EAFNOSUPPORT));
}

#[test]
fn nothing_is_typed_into_terminals_and_memory_stays_as_it_is_mapped() {
    let ioctl = |what: libc::Ioctl| call(libc::SYS_ioctl, [0, what as _, 0]);
    assert_eq!(ioctl(libc::TCGETS), Ok(()));
    assert_eq!(ioctl(libc::TIOCSTI), Err(libc::EPERM));
    // The kernel looks at the lower half only, so the upper one must not hide it.
    assert_eq!(call(libc::SYS_ioctl, [0, 1 << 32 | u64::from(libc::TIOCSTI as u32), 0]), Err(libc::EPERM));
    assert_eq!(ioctl(libc::TIOCLINUX), Err(libc::EPERM));
    let personality = |what: u64| call(libc::SYS_personality, [what, 0, 0]);
    assert_eq!((personality(0), personality(0xffff_ffff)), (Ok(()), Ok(())));
    assert_eq!(personality(libc::READ_IMPLIES_EXEC as u64), Err(libc::EPERM));
}

#[test]
fn other_architectures_end_the_process_and_x32_is_not_there() {
    const I386: u32 = 0x4000_0003;
    assert_eq!(run(libc::SYS_read, I386, [0; 3]), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(call(0x4000_0000 | libc::SYS_read, [0; 3]), Err(libc::ENOSYS));
    assert_eq!(call(0xffff_ffff, [0; 3]), Err(libc::ENOSYS));
}

#[test]
fn who_unpacks_a_zip_starts_nothing_and_calls_nobody() {
    let filter = Filter::for_unpacking().unwrap();
    let is_allowed =
        |number| run_on(&filter, number, ARCHITECTURE.unwrap(), [0; 3]) == libc::SECCOMP_RET_ALLOW;
    assert!([libc::SYS_read, libc::SYS_openat, libc::SYS_exit_group].into_iter().all(is_allowed));
    let refused = [
        libc::SYS_execve,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_kill,
        libc::SYS_prctl,
        libc::SYS_symlinkat,
        libc::SYS_linkat,
        libc::SYS_unlinkat,
        libc::SYS_fchownat,
        libc::SYS_ioctl,
        libc::SYS_ptrace,
    ];
    assert!(!refused.into_iter().any(is_allowed));
}
