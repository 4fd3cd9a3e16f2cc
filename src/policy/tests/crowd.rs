//! Many callers on several threads, some of whom give up, over a service that is slow, refuses and fails.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::clock;

/// Answers with the key, some time later; now and then it fails, and once in a while it panics.
struct Moody(AtomicU32);

impl Call for Moody {
    fn call(&self, keys: Vec<Key>) -> BoxFuture<'static, Response> {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_micros(u64::from(turn % 7) * 300)).await;
            match turn % 50 {
                3 => Err(CallError::new(Kind::Transient, "moody")).into(),
                17 => Err(CallError::new(Kind::Limited, "moody").with_retry_after(Some(ms(2)))).into(),
                31 => panic!("moody"),
                // Leaves out the last.
                43 => Ok(keys.iter().skip(1).map(|_| Ok(None)).collect()).into(),
                _ => {
                    Ok(keys.iter().map(|key| Ok(Some(Arc::from([Value::Text(key.clone()), Value::Int(1)])))).collect())
                        .into()
                }
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_gets_their_own_answer_and_the_outbox_comes_to_rest() {
    for batch in [None, Some(BatchSpec { max: 8, wait: ms(1) })] {
        let spec = ServiceSpec {
            batch,
            concurrency: 3,
            rate_limit: Some(Rate { count: 5000, per: Duration::from_secs(1) }),
            cache: Some(CacheSpec { ttl: ms(3), stale: ms(3), not_found: ms(1), entries: 100 }),
            failure_ttl: ms(1),
            ..service_spec()
        };
        let agent = AgentSpec { deadline: ms(60), timeout: ms(20), retry: 1, ..agent_spec() };
        let line = Line::new(&spec, Arc::new(Moody(AtomicU32::new(0))), clock::now);
        let stack = Stack::new(&agent, line.clone(), [1, 0]);
        let callers = (0..8_u64).map(|caller| {
            let stack = stack.clone();
            tokio::spawn(async move {
                let mut good = 0;
                for turn in 0..150_u64 {
                    let key = format!("u{}", (turn * 31 + caller * 7) % 90);
                    // Every fifth gives up early.
                    let patience = if turn % 5 == 0 { Duration::from_micros(400) } else { Duration::from_secs(10) };
                    let Ok(part) = tokio::time::timeout(patience, ask(&stack, &key)).await else { continue };
                    if let Some(name) = part.field(1).as_str() {
                        assert_eq!(name, key);
                        good += 1;
                    }
                    assert!(!part.is_pending());
                }
                good
            })
        });
        let good: Vec<u32> = join_all(callers).await.into_iter().map(Result::unwrap).collect();
        assert!(good.iter().sum::<u32>() > 300, "{good:?}");
        // Conditions, not sleeps: what is under way lands by its own deadline.
        let at_rest = async {
            while !line.is_idle() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), at_rest).await.expect("the outbox comes to rest");
        assert_eq!(line.snapshot().in_flight, 0);
    }
}
