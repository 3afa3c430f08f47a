using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;
using SdnEdge.Lab.Probes;
using Xunit;

namespace SdnEdge.Lab.Tests.Probe;

public sealed class ProbePayloadTests
{
    [Property]
    public bool What_is_written_is_read_back(byte stream, ushort flow, uint sequence, uint flowSequence, long sendNs, uint run, byte extra)
    {
        var probe = new ProbePayload { Stream = stream, Flow = flow, Sequence = sequence, FlowSequence = flowSequence,
            SendNs = sendNs, Run = run };
        byte[] bytes = new byte[ProbePayload.MinSize + extra];
        ProbePayload.Prepare(bytes);
        probe.Write(bytes);
        return ProbePayload.TryRead(bytes, out ProbePayload back) && back.Equals(probe);
    }

    [Fact]
    public void A_payload_cut_short_or_joined_with_the_next_is_no_probe()
    {
        byte[] two = new byte[200];
        for (int i = 0; i < 2; i++)
        {
            ProbePayload.Prepare(two.AsSpan(i * 100, 100));
            new ProbePayload { Sequence = (uint)i + 1 }.Write(two.AsSpan(i * 100, 100));
        }

        Assert.True(ProbePayload.TryRead(two.AsSpan(0, 100), out _));
        for (int length = 0; length < 200; length++)
        {
            Assert.Equal(length == 100, ProbePayload.TryRead(two.AsSpan(0, length), out _));
        }

        Assert.False(ProbePayload.TryRead(two, out _));
    }

    [Property]
    public bool No_byte_string_makes_the_reader_throw(byte[] bytes)
    {
        _ = ProbePayload.TryRead(bytes, out _);
        return true;
    }
}
