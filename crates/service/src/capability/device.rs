//! The id and the secret of a Chromium device. The store keeps nothing for them.
//!
//! A push service that loses its table of secrets locks out every Chromium until the browser restarts, days later. So
//! the secret is a keyed hash of the id, under the key that was current when the id was minted. It is valid as long as
//! the URLs of that time, and a backup restores both together.
//!
//! The device's id is the agent's id in clear text. Only the device itself gets it. It reveals when it was minted, and
//! how many ids the service minted in that millisecond, like `firefox::Version`.

use aws_lc_rs::hmac;
use doorbell_protocol::id::AgentId;
use doorbell_protocol::mcs::device::{Device, DeviceId, DeviceSecret};

use super::Capabilities;

impl Capabilities {
    /// The credentials of a Chromium agent: the same ones each time. `None` for an id that cannot be a device's.
    pub fn device(&self, agent: AgentId) -> Option<Device> {
        let id = u64::try_from(agent.raw()).ok().and_then(DeviceId::new)?;
        let key = &self.generation_of(agent.minted_at()).devices;
        let hash = hmac::sign(key, &agent.raw().to_be_bytes());
        let secret = u64::from_be_bytes(*hash.as_ref().first_chunk().expect("HMAC-SHA256 returns 32 bytes"));
        // Chromium reads 0 as "no secret".
        let secret = DeviceSecret::new(secret.max(1)).expect("any number but 0 is a secret");
        Some(Device { id, secret })
    }

    /// The agent of a device, if the secret belongs to the id.
    pub fn agent_of(&self, device: Device) -> Option<AgentId> {
        let agent = AgentId::from_raw(i64::try_from(device.id.get()).ok()?);
        // The comparison takes the same time wherever the secrets differ.
        self.device(agent).filter(|known| *known == device).map(|_| agent)
    }
}

#[cfg(test)]
mod tests {
    use doorbell_protocol::id::Mint;
    use doorbell_protocol::time::UnixMs;

    use super::*;
    use crate::capability::KeyRing;

    const NOON: UnixMs = UnixMs::from_secs(1_790_000_000);

    fn agent() -> AgentId {
        AgentId::from_raw(Mint::new(0, 0).next(NOON))
    }

    #[test]
    fn a_secret_opens_its_own_id_and_no_other() {
        let capabilities = Capabilities::new(&KeyRing::generate(NOON));
        let device = capabilities.device(agent()).unwrap();
        assert_eq!(capabilities.agent_of(device), Some(agent()));
        let numbers = |id: u64, secret: u64| Device::parse(&id.to_string(), &secret.to_string()).unwrap();
        let (id, secret) = (device.id.get(), device.secret.get());
        for (id, secret) in [(id, secret ^ 1), (id, secret ^ 1 << 63), (id + 1, secret), (u64::MAX, secret)] {
            assert_eq!(capabilities.agent_of(numbers(id, secret.max(1))), None);
        }
        let foreign = Capabilities::new(&KeyRing::generate(NOON));
        assert_eq!(foreign.agent_of(device), None);
        for raw in [0, -1, i64::MIN] {
            assert!(capabilities.device(AgentId::from_raw(raw)).is_none());
        }
    }

    #[test]
    fn rotation_changes_the_secret_of_no_device() {
        let mut ring = KeyRing::generate(NOON);
        let before = Capabilities::new(&ring).device(agent());
        ring.rotate(NOON.plus(std::time::Duration::from_secs(3600)));
        assert!(Capabilities::new(&ring).device(agent()) == before);
    }
}
