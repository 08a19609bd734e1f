//! SIGSEGV and SIGBUS that are meant: a handler that counts them and either
//! returns from the access that failed or mends its page.

use std::io;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::{Area, PAGE, checked, touch};

static CAUGHT: AtomicU64 = AtomicU64::new(0);
static SIGNAL: AtomicI32 = AtomicI32::new(0);
static CODE: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);
static REMEDY: AtomicU8 = AtomicU8::new(LEAVE);

const LEAVE: u8 = 0;
const MEND: u8 = 1;

/// How large the handler's own stack is: the processor's saved state alone may
/// take 11 KiB.
const STACK: usize = 64;

/// `si_code` values that `libc` does not name for every signal.
pub(crate) mod code {
    /// Nothing is mapped there.
    pub(crate) const MAPERR: i32 = 1;
    /// What is mapped there forbids the access.
    pub(crate) const ACCERR: i32 = 2;
    /// A protection key forbids it.
    pub(crate) const PKUERR: i32 = 4;
    /// SIGBUS: no such page in the file.
    pub(crate) const ADRERR: i32 = 2;
    /// SIGBUS: the page's memory is broken.
    pub(crate) const MCEERR_AR: i32 = 4;
    /// The kernel's own: no page fault at all.
    pub(crate) const KERNEL: i32 = 0x80;
}

/// What the handler does about a signal.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Remedy {
    /// Returns from the access as if it had been done.
    Leave,
    /// Makes the page readable and writable and tries again.
    Mend,
}

/// What was caught.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caught {
    /// How many signals.
    pub(crate) count: u64,
    /// The last one's number.
    pub(crate) signal: i32,
    /// The last one's `si_code`.
    pub(crate) code: i32,
    /// The last one's address.
    pub(crate) address: usize,
}

/// Installs the handler, on a stack of its own.
///
/// From here on only the accesses of [`touch`](super::touch) may fail: the
/// handler takes whatever it interrupts for one of them.
pub(crate) fn catch(remedy: Remedy) -> io::Result<()> {
    let stack = Area::anonymous(STACK)?;
    touch::write(stack);
    let alternative = libc::stack_t { ss_sp: stack.pointer(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: the area is mapped for as long as the process lives and nothing else uses it.
    checked(unsafe { libc::sigaltstack(&raw const alternative, ptr::null_mut()) })?;
    REMEDY.store(if matches!(remedy, Remedy::Mend) { MEND } else { LEAVE }, Relaxed);
    // SAFETY: all zeroes are a valid `sigaction` with an empty mask.
    let mut action: libc::sigaction = unsafe { zeroed() };
    let handler: extern "C" fn(_, _, _) = on_fault;
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: the handler has the signature that SA_SIGINFO asks for and is
        // async-signal-safe: atomics, mprotect, and a change of the saved registers.
        checked(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
    }
    Ok(())
}

/// What was caught so far.
pub(crate) fn caught() -> Caught {
    Caught {
        count: CAUGHT.load(Relaxed),
        signal: SIGNAL.load(Relaxed),
        code: CODE.load(Relaxed),
        address: ADDRESS.load(Relaxed),
    }
}

extern "C" fn on_fault(signal: i32, what: *mut libc::siginfo_t, saved: *mut libc::c_void) {
    // SAFETY: the kernel passes a live `siginfo_t`, filled for a fault.
    let (code, address) = unsafe { ((*what).si_code, (*what).si_addr().expose_provenance()) };
    // SAFETY: the kernel passes the saved registers, which nobody else refers to.
    let registers = unsafe { &mut (*saved.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let instruction = address_in(registers[libc::REG_RIP as usize]);
    if !touch::is_access(instruction) && instruction != address {
        if signal == libc::SIGSEGV {
            // A fault that nobody meant: without the handler it ends the process.
            // SAFETY: integers only.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        // Or the news that memory is broken, which interrupted no access.
        return;
    }
    CAUGHT.fetch_add(1, Relaxed);
    SIGNAL.store(signal, Relaxed);
    CODE.store(code, Relaxed);
    ADDRESS.store(address, Relaxed);
    if REMEDY.load(Relaxed) == MEND {
        let page: *mut libc::c_void = ptr::with_exposed_provenance_mut(address / PAGE * PAGE);
        // SAFETY: only an area's pages fail while this remedy is on; they hold no Rust value.
        // Where it fails the access fails again, and the count tells.
        unsafe { libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_WRITE) };
        return;
    }
    let top = address_in(registers[libc::REG_RSP as usize]);
    // SAFETY: what was interrupted is a leaf function of `touch` before it changed the stack
    // pointer, or the target of its jump: in either case the stack holds the return address,
    // and returning there is what `ret` would do.
    let back = unsafe { *ptr::with_exposed_provenance::<i64>(top) };
    registers[libc::REG_RIP as usize] = back;
    registers[libc::REG_RSP as usize] += 8;
}

/// A saved register as the address that it holds.
fn address_in(register: i64) -> usize {
    usize::try_from(register.cast_unsigned()).unwrap_or(0)
}

/// For the scenarios' parent: SIGINT, SIGTERM and SIGHUP end what runs and let
/// it put everything back, instead of ending it at once.
pub(crate) mod interrupt {
    use std::io;
    use std::mem::zeroed;
    use std::ptr;
    use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

    use super::checked;

    static SEEN: AtomicI32 = AtomicI32::new(0);
    static CHILD: AtomicI32 = AtomicI32::new(0);

    const SIGNALS: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

    /// Installs the handler.
    pub(crate) fn defer() -> io::Result<()> {
        // SAFETY: all zeroes are a valid `sigaction` with an empty mask.
        let mut action: libc::sigaction = unsafe { zeroed() };
        let handler: extern "C" fn(_) = on_interrupt;
        action.sa_sigaction = handler as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART;
        for signal in SIGNALS {
            // SAFETY: the handler only uses atomics and `kill`, both async-signal-safe.
            checked(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) })?;
        }
        Ok(())
    }

    /// Which signal came, if one did.
    pub(crate) fn seen() -> Option<i32> {
        Some(SEEN.load(SeqCst)).filter(|&signal| signal != 0)
    }

    /// Names the child that such a signal shall kill; 0 for none.
    pub(crate) fn running(child: i32) {
        CHILD.store(child, SeqCst);
    }

    extern "C" fn on_interrupt(signal: i32) {
        SEEN.store(signal, SeqCst);
        let child = CHILD.load(SeqCst);
        if child != 0 {
            // SAFETY: integers only; the child is this process's own and not yet waited for.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
    }
}
