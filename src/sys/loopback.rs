//! The loopback device of a network namespace, which is down when that is new.

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use super::CallFailed;

/// The kernel registers it first in each namespace (`LOOPBACK_IFINDEX` in include/net/flow.h).
const INDEX: i32 = 1;

// linux/rtnetlink.h, linux/netlink.h and linux/if.h.
const RTM_NEWLINK: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLMSG_ERROR: u16 = 2;
const IFF_UP: u32 = 1;

/// The lengths of `struct nlmsghdr`, `struct ifinfomsg` and, without what follows, `struct nlmsgerr`.
const HEADER: usize = 16;
const LINK: usize = 16;
const ERROR: usize = 4;

/// Raises the one of this thread's network namespace. Needs CAP_NET_ADMIN there.
///
/// By netlink, whose messages are plain bytes; the older way, an ioctl(2), takes pointers.
pub fn raise() -> Result<(), CallFailed> {
    let failed = |call: &str, e| CallFailed::new(call, e);
    // No protocol is 0, and that is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
        .map_err(|e| failed("socket(AF_NETLINK)", e))?;
    // What is not connected to anybody sends to the kernel (netlink(7)).
    send(&socket, &request(), SendFlags::empty()).map_err(|e| failed("sendto(RTM_NEWLINK)", e))?;
    let mut answer = [0; HEADER + ERROR + HEADER + LINK];
    let (_, count) =
        recv(&socket, &mut answer[..], RecvFlags::empty()).map_err(|e| failed("recvfrom(RTM_NEWLINK)", e))?;
    match answered(&answer[..count.min(answer.len())]) {
        Some(0) => Ok(()),
        Some(errno) => Err(failed("RTM_NEWLINK(lo, IFF_UP)", Errno::from_raw_os_error(errno))),
        None => Err(failed("RTM_NEWLINK(lo, IFF_UP)", Errno::BADMSG)),
    }
}

/// Says that this one device is to be up, and nothing else of it.
fn request() -> Vec<u8> {
    let length = u32::try_from(HEADER + LINK).expect("it is 32");
    let (sequence, sender) = (1_u32, 0_u32);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
    message.extend(sequence.to_ne_bytes());
    message.extend(sender.to_ne_bytes());
    let (family_and_type, flags, change) = ([0; 4], IFF_UP, IFF_UP);
    message.extend(family_and_type);
    message.extend(INDEX.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    message.extend(change.to_ne_bytes());
    message
}

/// Returns the errno of an answer, 0 where it is none; `None` where it is no answer.
fn answered(message: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let errno = i32::from_ne_bytes(message.get(HEADER..HEADER + ERROR)?.try_into().ok()?);
    (kind == NLMSG_ERROR).then(|| errno.wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_errno_of_the_request() {
        let answer = |kind: u16, errno: i32| {
            let mut message = 36_u32.to_ne_bytes().to_vec();
            message.extend(kind.to_ne_bytes());
            message.extend([0; 10]);
            message.extend(errno.to_ne_bytes());
            message.extend(&request()[..HEADER]);
            message
        };
        assert_eq!(answered(&answer(NLMSG_ERROR, 0)), Some(0));
        assert_eq!(answered(&answer(NLMSG_ERROR, -1)), Some(1));
        assert_eq!(answered(&answer(RTM_NEWLINK, 0)), None);
        assert_eq!(answered(&answer(NLMSG_ERROR, 0)[..19]), None);
        assert_eq!(answered(&[]), None);
    }
}
