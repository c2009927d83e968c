//! What HTTP/3 looks like on the wire: a client that writes and reads the bytes itself.

use std::time::Duration;

use h3::error::Code;
use mesh_server::{Limits, Options};
use quinn::{Connection, ReadError, RecvStream, SendStream, VarInt};

use crate::fixture::{BoxError, By, LIMIT, Outcome, Served, options, says, within};
use crate::http3_client::dial;

/// The first request that is not served after the far GOAWAY, counted from the last one accepted.
const FAR: u64 = 1 << 20;

/// Returns a HEADERS frame of a POST to `path`, from QPACK's static table (RFC 9204, appendix A) and literals.
fn headers(path: &str) -> Result<Vec<u8>, BoxError> {
    let mut block = vec![0, 0]; // no dynamic table
    block.extend([0xc0 | 20, 0xc0 | 23]); // :method POST, :scheme https
    block.extend([0x50, 4]); // :authority
    block.extend(b"mesh");
    block.extend([0x51, u8::try_from(path.len())?]); // :path
    block.extend(path.as_bytes());
    block.extend([0x5f, 44 - 15, 16]); // content-type
    block.extend(b"application/grpc");
    let mut frame = vec![1, 0x40, u8::try_from(block.len())?]; // HEADERS, a length of two bytes
    frame.extend(block);
    Ok(frame)
}

/// Asks, and neither ends the request nor says anything in it: the handler waits.
async fn ask(connection: &Connection) -> Result<(SendStream, RecvStream), BoxError> {
    let (mut send, receive) = connection.open_bi().await?;
    send.write_all(&headers("/omnirelay.test.v1.Echo/ClientStream")?).await?;
    Ok((send, receive))
}

/// Returns the server's control stream, past its type and settings.
async fn control(connection: &Connection) -> Result<RecvStream, BoxError> {
    loop {
        let mut stream = connection.accept_uni().await?;
        if varint(&mut stream).await? == 0 {
            let (kind, length) = (varint(&mut stream).await?, varint(&mut stream).await?);
            assert_eq!(kind, 4, "settings come first");
            stream.read_exact(&mut vec![0; usize::try_from(length)?]).await?;
            return Ok(stream);
        }
    }
}

/// Returns the ID in the GOAWAY that comes next.
async fn goaway(control: &mut RecvStream) -> Result<u64, BoxError> {
    let (kind, _length) = (varint(control).await?, varint(control).await?);
    assert_eq!(kind, 7, "nothing else is sent on the control stream");
    varint(control).await
}

/// RFC 9000 §16.
async fn varint(stream: &mut RecvStream) -> Result<u64, BoxError> {
    let mut first = [0];
    stream.read_exact(&mut first).await?;
    let [first] = first;
    let mut rest = vec![0; (1 << (first >> 6)) - 1];
    stream.read_exact(&mut rest).await?;
    Ok(rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte)))
}

#[tokio::test]
async fn goaways_name_no_request_that_was_served_and_what_comes_later_is_rejected() -> Outcome {
    let served = Served::start()?;
    let connection = dial(served.address(), &*served.authority.credentials("raw")?).await?;
    let mut control = control(&connection).await?;
    let (_send_0, _receive_0) = ask(&connection).await?;
    let (mut send_4, mut receive_4) = ask(&connection).await?;
    within("two requests", served.echo.wait_for(|calls| calls.begun == 2)).await;
    served.shutdown.cancel();
    assert_eq!(within("the first", goaway(&mut control)).await?, 4 + 4 * FAR, "what is on its way is promised");
    // This one comes before the last GOAWAY or after it, as packets and threads will have it.
    let (_send_8, _receive_8) = ask(&connection).await?;
    let last = within("the last", goaway(&mut control)).await?;
    assert!(last == 8 || last == 12, "{last}");
    let (_send_12, mut receive_12) = ask(&connection).await?;
    match within("the rejection", receive_12.read(&mut [0; 8])).await {
        Err(ReadError::Reset(code)) => assert_eq!(code.into_inner(), Code::H3_REQUEST_REJECTED.value()),
        other => panic!("not rejected: {other:?}"),
    }
    // A call from before ends well.
    send_4.finish()?;
    let answer = within("the answer", receive_4.read_to_end(4096)).await?;
    assert_eq!(answer.first(), Some(&1), "it begins with its head");
    assert_eq!(4 * served.echo.calls().begun, last, "all below it were served, and none beyond");
    Ok(())
}

#[tokio::test]
async fn a_connection_that_was_never_used_is_told_that_nothing_was_served() -> Outcome {
    let served = Served::start()?;
    let connection = dial(served.address(), &*served.authority.credentials("raw")?).await?;
    let mut control = control(&connection).await?;
    let (report, id) = tokio::join!(served.stop(), within("the GOAWAY", goaway(&mut control)));
    assert_eq!((report?.cut_off, id?), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_request_that_does_not_come_to_its_point_is_reset() -> Outcome {
    let hasty = Limits { head_timeout: Duration::from_millis(50), ..Limits::default() };
    let served = Served::start_with(Options { limits: hasty, ..options() })?;
    let connection = dial(served.address(), &*served.authority.credentials("raw")?).await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[1]).await?;
    match within("the reset", receive.read(&mut [0; 8])).await {
        Err(ReadError::Reset(code)) => assert_eq!(code.into_inner(), Code::H3_INTERNAL_ERROR.value()),
        other => panic!("not reset: {other:?}"),
    }
    let (_send, _receive) = ask(&connection).await?;
    within("another request", served.echo.wait_for(|calls| calls.begun == 1)).await;
    Ok(())
}

#[tokio::test]
async fn a_flood_of_requests_that_are_reset_leaves_nothing_behind() -> Outcome {
    const REQUESTS: usize = 5_000;
    let served = Served::start()?;
    let connection = dial(served.address(), &*served.authority.credentials("raw")?).await?;
    let cancelled = VarInt::from_u64(Code::H3_REQUEST_CANCELLED.value())?;
    for _ in 0..REQUESTS {
        // The server may have had enough of it before.
        let Ok((mut send, mut receive)) = within("a turn", ask(&connection)).await else { break };
        send.reset(cancelled)?;
        receive.stop(cancelled)?;
    }
    let mut other = served.client(By::Http3).await?;
    assert_eq!(within("an answer", other.unary(says("still here"))).await?.into_inner().payload, "still here");
    within("the end of all handlers", served.echo.wait_for(|calls| calls.running() == 0)).await;
    Ok(())
}

/// A client that answers nothing but acknowledges: the server waits for as long as it was told to.
#[tokio::test]
async fn a_client_that_does_not_leave_is_left() -> Outcome {
    let served = Served::start()?;
    let connection = dial(served.address(), &*served.authority.credentials("raw")?).await?;
    let _control = control(&connection).await?;
    let report = served.stop().await?;
    assert_eq!((report.connections, report.cut_off), (1, 0));
    assert!(report.took < LIMIT, "it was not waited for");
    match connection.closed().await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code.into_inner(), Code::H3_NO_ERROR.value());
        }
        other => panic!("not closed by the server: {other:?}"),
    }
    Ok(())
}
